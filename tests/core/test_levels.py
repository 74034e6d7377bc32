"""Format levels: the table is whole, what does not use a level keeps its bytes, what does waits for it to be stated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest
from msgspec import inspect
from msgspec.structs import replace

from aioqueue.clock import Now
from aioqueue.core import events as e
from aioqueue.core import levels, records
from aioqueue.core.levels import KNOWN, LEVELS, Levels, NeedsLevel, refuse_newer
from aioqueue.core.partition import Partition
from aioqueue.core.records import decode_events, encode_events
from aioqueue.errors import JournalNewer
from aioqueue.model.growth import Shapes, inner_records
from aioqueue.model.records import JobExtra, Terms, pack_extra
from aioqueue.model.spec import RetryPolicy, Spec, pack_spec
from aioqueue.model.states import JobState
from tests.support.finished import finished
from tests.support.later import LATER, TODAY, Mark, Marked, at_level, later

GOLDEN = Path(__file__).parents[1] / "golden" / "records-v1"
KINDS = e.JournaledEvent.__args__
JOB = bytes(range(16))
NOW = Now(1_000, 1_700_000_000_000)


def test_every_journaled_event_has_its_level() -> None:
    listed = {kind for rows in LEVELS.values() for kind in rows}
    assert set(KINDS) <= listed


def test_every_field_of_a_record_has_its_level() -> None:
    fields: dict[type, int] = {}
    for level in sorted(LEVELS):
        fields |= LEVELS[level]
    # A field that is appended belongs under the level of the release that first writes it.
    assert fields == {kind: len(kind.__struct_fields__) for kind in fields}  # type: ignore[attr-defined]


def records_in(kind: type) -> set[type]:
    found = inspect.type_info(kind)
    assert isinstance(found, inspect.StructType)
    inner = {each.cls for field in found.fields for each in inner_records(field.type)}
    return inner.union(*map(records_in, inner))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_journaled_record_passes_over_a_field_it_does_not_know(kind: type) -> None:
    for each in (kind, *records_in(kind)):
        assert each.__struct_config__.forbid_unknown_fields, each  # type: ignore[attr-defined]
        assert each in KNOWN.first


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (e.JobMisfit(JOB, 7), 2),
        (e.JobReleased(JOB, 7), 1),
        (e.TaskSet("n", "t", JOB, b"description", 1, 2), 2),
        (e.ItemsLapsed((("n", "t"),)), 2),
        (e.JobSubmitted(JOB, pack_spec(Spec("n", "q", "t")), 1, JobState.READY, 0, 0, 0, 0), 1),
        (e.JobSubmitted(JOB, pack_spec(Spec("n", "q", "t", labels=("gpu",))), 1, JobState.READY, 0, 0, 0, 0), 2),
    ],
)
def test_what_an_older_release_would_not_heed_needs_its_level(event: Any, level: int) -> None:
    assert KNOWN.needed(event) == level
    for _ in range(2):
        if level > 1:
            with pytest.raises(NeedsLevel):
                KNOWN.check([(event, None)], 1)
        else:
            KNOWN.check([(event, None)], 1)


def test_a_plain_job_needs_no_more_than_the_first_level() -> None:
    spec = pack_spec(Spec("default", "default", "shop.mail.send"))
    submitted = e.JobSubmitted(JOB, spec, 1, JobState.READY, 0, 0, 0, 0, 0, pack_extra(JobExtra(b"", "own", {})))
    bound = e.JobSubmitted(JOB, spec, 1, JobState.READY, 0, 0, 0, 0, 1, None, Terms(*TIMES))
    plain = [submitted, bound, e.JobLeased(JOB, 1, 1, 1), e.JobSucceeded(JOB, 1, 0, 0, 0)]
    assert KNOWN.needed_by(plain) == 1
    assert KNOWN.needed(replace(bound, terms=Terms(*TIMES, 3))) == 2


def test_what_an_archive_row_does_not_use_is_not_written() -> None:
    # `archive.rows` packs a row without terms as it is.
    row = finished(1)
    assert KNOWN.cut_one(row) is row
    bound = replace(row, terms=Terms(*TIMES))
    assert KNOWN.cut_one(bound)[21] == list(TIMES)
    assert KNOWN.cut_one(replace(row, terms=Terms(*TIMES, 3))).terms == Terms(*TIMES, 3)


# --- what grew ----------------------------------------------------------------------------------------------------


class Control(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    group: str = ""


class WideTerms(Terms, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    control: Control | None = None


class WideSubmitted(e.JobSubmitted, array_like=True, tag=1, gc=False, forbid_unknown_fields=True):
    terms: WideTerms | None = None
    since_ms: int = 0


FIELDS = {WideSubmitted: 11, WideTerms: 4, Control: 1}
WIDE = Levels({1: {**LEVELS[1], **FIELDS}, 2: {**LEVELS[2], WideTerms: 5, WideSubmitted: 12}, 3: {WideTerms: 6}})
TIMES = (1_700_000_002_000, 1_700_000_003_000, bytes(range(16, 32)), True)
FIRST = (JOB, b"spec", 300, JobState.SCHEDULED, 1_700_000_000_123, 70_000, 12, 0xFFFFFFFF, 2, b"extra")


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later release, whose submits have a field more and whose terms have one too."""
    monkeypatch.setattr(levels, "KNOWN", WIDE)


@pytest.mark.usefixtures("wide")
def test_a_submit_that_uses_no_later_field_has_the_bytes_of_today() -> None:
    golden = bytes.fromhex((GOLDEN / "001-JobSubmitted.hex").read_text(encoding="ascii"))
    assert encode_events([WideSubmitted(*FIRST, WideTerms(*TIMES))]) == golden
    assert decode_events(golden, "j") == [e.JobSubmitted(*FIRST, Terms(*TIMES))]
    plain = encode_events([WideSubmitted(JOB, b"spec", 1, JobState.READY, 0, 0, 0, 0)])
    assert plain == encode_events([e.JobSubmitted(JOB, b"spec", 1, JobState.READY, 0, 0, 0, 0)])


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize(
    ("event", "level"),
    [
        (WideSubmitted(*FIRST), 1),
        (WideSubmitted(*FIRST, WideTerms(*TIMES)), 1),
        (WideSubmitted(*FIRST, None, 5), 2),
        (WideSubmitted(*FIRST, WideTerms(*TIMES, 0, Control("a"))), 3),
        (e.JobDue(JOB, 1), 1),
    ],
)
def test_a_record_needs_the_level_of_the_last_field_it_uses(event: Any, level: int) -> None:
    assert WIDE.needed(event) == WIDE.needed_by([e.JobDue(JOB, 1), event]) == level
    WIDE.check([(event, None)], 3)
    if level > 1:
        with pytest.raises(NeedsLevel) as needs:
            WIDE.check([(event, None)], level - 1)
        assert needs.value.level == level


@pytest.mark.usefixtures("wide")
def test_what_uses_a_later_field_is_newer_for_today() -> None:
    for event in (WideSubmitted(*FIRST, None, 5), WideSubmitted(*FIRST, WideTerms(*TIMES, 0, Control("a")))):
        with pytest.raises(JournalNewer):
            decode_events(encode_events([event]), "j")


def test_a_field_appended_within_a_field_is_newer_and_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = list[WideSubmitted]
    monkeypatch.setattr(records, "_decoder", msgspec.msgpack.Decoder(kinds))
    monkeypatch.setattr(records, "_shapes", Shapes(kinds))
    [record] = msgpack.unpackb(msgspec.msgpack.encode([WideSubmitted(*FIRST, WideTerms(*TIMES, 0, Control("a")))]))
    record[11][5].append("from a later release")
    with pytest.raises(JournalNewer, match=r"2 elements at place 11\.5"):
        decode_events(msgpack.packb([record]), "j")


@pytest.mark.parametrize(("grown", "fields"), [(Spec, 9), (RetryPolicy, 7), (JobExtra, 4)], ids=str)
def test_a_field_of_what_is_packed_within_an_event_needs_its_level(grown: type, fields: int) -> None:
    table = Levels({1: {**LEVELS[1], Spec: 8}, 2: {grown: fields}})
    spec: list[Any] = ["n", "q", "t", 5, 0, -1, [5, "constant", 1, 2.0, 3, True], []]
    extra: list[Any] = [b"", "own", {}]
    plain = e.JobSubmitted(JOB, msgpack.packb(spec), 1, JobState.READY, 0, 0, 0, 0, 0, msgpack.packb(extra))
    assert table.needed(plain) == 1
    {Spec: spec, RetryPolicy: spec[6], JobExtra: extra}[grown].append("new")
    used = e.JobSubmitted(JOB, msgpack.packb(spec), 1, JobState.READY, 0, 0, 0, 0, 0, msgpack.packb(extra))
    assert table.needed(used) == 2
    # The bytes are those of whoever packed it.
    assert encode_events([used]) == msgspec.msgpack.encode([used])
    with pytest.raises(JournalNewer):
        decode_events(encode_events([used]), "j")
    damaged = e.JobSubmitted(JOB, b"\xc1", 1, JobState.READY, 0, 0, 0, 0, 0, b"")
    assert table.needed(damaged) == table.needed(e.JobDue(JOB, 1)) == 1


# --- stating ------------------------------------------------------------------------------------------------------


def test_a_batch_ends_before_the_command_that_needs_a_level(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = later(monkeypatch)
    partition = Partition()
    step = partition.step([Mark("a"), Mark("b")], NOW, 1)  # type: ignore[list-item]
    assert (step.taken, step.replies, step.events, step.bodies, step.more) == (0, [], [], [], True)
    assert (partition.level_needed, marks) == (LATER, [])
    partition.level = LATER
    step = partition.step([Mark("a"), Mark("b")], NOW, 1)  # type: ignore[list-item]
    assert (step.taken, step.events, step.more, marks) == (2, [Marked("a"), Marked("b")], False, ["a", "b"])


def test_a_level_above_those_that_are_known_is_refused_by_its_name() -> None:
    assert refuse_newer(TODAY, "jobs.db") == TODAY
    with pytest.raises(JournalNewer) as refused:
        refuse_newer(LATER, "jobs.db")
    assert str(refused.value) == (
        f"jobs.db was written by a newer aioqueue (level {LATER}); this one reads up to level {TODAY}; "
        "it was left untouched"
    )


def test_a_later_table_reads_all_of_this_one() -> None:
    assert at_level(LATER + 1).highest == LATER + 1
    assert at_level(LATER).first.items() >= KNOWN.first.items()
