"""Event records: their bytes for ever, and what is said of bytes that this version did not write."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioqueue.core import events as e
from aioqueue.core.commands import SessionEnd
from aioqueue.core.levels import KNOWN
from aioqueue.core.records import decode_events, encode_events
from aioqueue.errors import JournalDamaged, JournalNewer
from aioqueue.model.records import Terms
from aioqueue.model.states import BulkPhase, Cause, JobState
from tests.support.record_table import table

GOLDEN = Path(__file__).parents[1] / "golden" / "records-v1"
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "journal.md"
KINDS = e.JournaledEvent.__args__
JOB = bytes(range(16))
TERMS = Terms(1_700_000_002_000, 1_700_000_003_000, bytes(range(16, 32)), True)
HASH = bytes(range(32, 64))
SPEC: list[Any] = ["shop", "mail", "shop.mail.send", 8, 0, -1, [5, "exponential", 1_000, 2.0, 300_000, True], ["gpu"]]

# One event of each kind, with every field away from its default.
EXAMPLES: tuple[Any, ...] = (
    e.JobSubmitted(
        JOB, b"spec", 300, JobState.SCHEDULED, 1_700_000_000_123, 70_000, 12, 0xFFFFFFFF, 2, b"extra", TERMS
    ),
    e.JobDue(JOB, 301),
    e.JobLeased(JOB, 7, 65_536, 3),
    e.JobSucceeded(JOB, 65_536, 0, 128, 1),
    e.JobFailed(JOB, 65_536, JobState.SCHEDULED, 1_700_000_001_000, 9, 200, 2**32 - 2),
    e.JobReleased(JOB, 2**40),
    e.JobCrashed(JOB, 4, JobState.DEAD, 3),
    e.JobCancelled(JOB, "not needed"),
    e.JobStopping(JOB, 65_536, Cause.DEADLINE, "too läte"),
    e.JobExpired(JOB, Cause.EXPIRES),
    e.JobMisfit(JOB, 2**40),
    e.BulkStaged(HASH[:16], "default", 8, JOB * 2, 7_000),
    e.BulkCommitted(HASH[:16]),
    e.BulkFreed(HASH[:16], 300, 70_000, JOB * 2, JOB, JOB * 3),
    e.BulkCarried(HASH[:16], "default", BulkPhase.COMMITTED, 9, 8_200, 300, 70_001, 7_000, JOB * 2),
    e.SessionOpened(7, HASH, "default", "worker-ä"),
    e.SessionEnded(7, SessionEnd.EXPIRED),
    e.SessionCarried(7, HASH, "default", "worker-ä"),
    e.JobCarried(
        JOB, b"spec", 300, JobState.RUNNING, 1_700_000_000_123, 1_700_000_000_000, 70_000, 12, 0xFFFFFFFF, b"extra",
        2, 1, 2, 5, 65_536, 7, 1_700_000_000_200, TERMS, Cause.CANCEL, "nicht nötig",
    ),
    e.BaseMoved(4_097, 70_001, 302, 65_537, 8),
    e.TaskSet("default", "shop.mail.send", JOB, b"description", 1_700_000_000_000, 1_700_000_000_123),
    e.ItemsLapsed((("default", "shop.mail.send"), ("shop", "ä"))),
)  # fmt: skip


def golden_file(event: Any) -> Path:
    kind = type(event)
    return GOLDEN / f"{kind.__struct_config__.tag:03}-{kind.__name__}.hex"


def test_every_kind_of_event_has_its_golden_file() -> None:
    assert [type(event) for event in EXAMPLES] == list(KINDS)
    assert sorted(path.name for path in GOLDEN.iterdir()) == sorted(golden_file(event).name for event in EXAMPLES)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_the_bytes_of_a_record_are_those_of_version_one(event: Any) -> None:
    data = bytes.fromhex(golden_file(event).read_text(encoding="ascii"))
    assert encode_events([event]) == data
    assert decode_events(data, "journal") == [event]


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_a_record_with_one_field_more_is_newer(event: Any) -> None:
    [record] = msgpack.unpackb(encode_events([event]))
    length = len(type(event).__struct_fields__) + 2
    with pytest.raises(JournalNewer) as refused:
        decode_events(msgpack.packb([[*record, 0]]), "journal")
    assert f"{length} elements" in str(refused.value)
    assert refused.value.path == "journal"


def test_the_bytes_of_what_level_2_appended_are_those_of_level_2() -> None:
    again = e.JobSubmitted(
        JOB, b"spec", 300, JobState.READY, 0, 70_000, 12, 0xFFFFFFFF, 3, b"extra", Terms(first_generation=3)
    )
    data = bytes.fromhex((GOLDEN.with_name("records-level-2") / "001-JobSubmitted.hex").read_text(encoding="ascii"))
    assert encode_events([again]) == data
    assert decode_events(data, "journal") == [again]


def test_a_record_from_before_a_field_was_added_has_its_default() -> None:
    short = e.JobSubmitted(JOB, b"spec", 1, JobState.READY, 0, 0, 0, 0)
    [record] = msgpack.unpackb(encode_events([short]))
    assert decode_events(msgpack.packb([record[:9]]), "journal") == [short]


@pytest.mark.parametrize(
    ("bare", "length"),
    [
        (e.JobSubmitted(JOB, b"spec", 300, JobState.READY, 0, 70_000, 12, 1, 2, b"extra"), 11),
        (e.JobCancelled(JOB), 2),
        (e.JobStopping(JOB, 65_536), 3),
        (e.JobCarried(JOB, b"spec", 3, JobState.READY, 0, 1, 7, 1, 1, None, 2, 1, 2, 5, 6, 7, 8), 18),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_record_as_it_was_first_written_is_read_for_ever(bare: Any, length: int) -> None:
    [record] = msgpack.unpackb(encode_events([bare]))
    assert decode_events(msgpack.packb([record[:length]]), "journal") == [bare]


def test_terms_with_one_field_more_are_newer() -> None:
    [record] = msgpack.unpackb(encode_events([EXAMPLES[0]]))
    record[-1] += [0, 0]
    with pytest.raises(JournalNewer, match="6 elements at place 11"):
        decode_events(msgpack.packb([record]), "journal")


@pytest.mark.parametrize("spec", [[*SPEC, 0], [*SPEC[:6], [*SPEC[6], 0], SPEC[7]]], ids=["spec", "retry policy"])
@pytest.mark.parametrize("event", [EXAMPLES[0], EXAMPLES[18]], ids=lambda event: type(event).__name__)
def test_a_spec_with_one_field_more_is_newer(event: Any, spec: list[Any]) -> None:
    [record] = msgpack.unpackb(encode_events([event]))
    record[2] = msgpack.packb(spec)
    with pytest.raises(JournalNewer, match="in a job's spec") as refused:
        decode_events(msgpack.packb([record]), "journal")
    assert refused.value.known == f"level {KNOWN.highest}"


def test_what_goes_with_a_job_with_one_field_more_is_newer() -> None:
    [record] = msgpack.unpackb(encode_events([EXAMPLES[0]]))
    for extra in ([b"", "own", {}], [b"", "own"], [b""]):
        record[10] = msgpack.packb(extra)
        assert decode_events(msgpack.packb([record]), "journal")
    record[10] = msgpack.packb([b"", "own", {}, 0])
    with pytest.raises(JournalNewer, match="4 elements in what goes with a job"):
        decode_events(msgpack.packb([record]), "journal")


@pytest.mark.parametrize("kind", [*sorted(e.RESERVED_KINDS), 99, -1])
def test_a_kind_of_a_later_version_is_newer(kind: int) -> None:
    known = msgpack.unpackb(encode_events([e.JobCancelled(JOB)]))
    with pytest.raises(JournalNewer, match=f"kind {kind}"):
        decode_events(msgpack.packb([*known, [kind, JOB]]), "journal")


def test_the_reference_tells_which_kinds_are_reserved() -> None:
    told = re.search(r"^- Kinds ([\d, toand]+) are reserved", REFERENCE.read_text(), re.MULTILINE)
    assert told is not None
    ranges = [part.split(" to ") for part in re.split(", | and ", told.group(1))]
    kinds = {kind for part in ranges for kind in range(int(part[0]), int(part[-1]) + 1)}
    assert kinds == e.RESERVED_KINDS.keys()


def test_no_kind_is_used_twice_or_reserved() -> None:
    used = {kind.__struct_config__.tag for kind in KINDS}
    assert len(used) == len(KINDS)
    assert not used & e.RESERVED_KINDS.keys()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x91",
        b"\x80",
        msgpack.packb({8: [8, JOB]}),
        msgpack.packb([b"\xff" * 16]),
        msgpack.packb(["zzz"]),
        msgpack.packb([[]]),
        msgpack.packb([["8", JOB]]),
        msgpack.packb([[8, "not bytes"]]),
        msgpack.packb([[8]]),
        b"\x91\x95\x14\x07\xc4\x01h\xa1n\xa1\x80",
        msgpack.packb([[7, JOB, 1, 99, 1]]),
        encode_events(EXAMPLES)[:-1],
        encode_events(EXAMPLES) + b"\x00",
        b"\x91" * 100_000,
    ],
    ids=lambda data: data[:8].hex() or "nothing",
)
def test_damage_is_told_as_damage(data: bytes) -> None:
    with pytest.raises(JournalDamaged):
        decode_events(data, "journal")


@pytest.mark.fuzz
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        decoded = decode_events(data, "journal")
    except (JournalDamaged, JournalNewer):
        return
    assert decode_events(encode_events(decoded), "journal") == decoded


@pytest.mark.fuzz
@given(st.data())
def test_one_wrong_byte_is_read_or_refused(data: st.DataObject) -> None:
    good = bytearray(encode_events(EXAMPLES))
    good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with suppress(JournalDamaged, JournalNewer):
        decode_events(bytes(good), "journal")


def test_the_reference_lists_the_records_as_they_are() -> None:
    assert table() in REFERENCE.read_text(encoding="utf-8")
