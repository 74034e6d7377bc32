"""Room for what comes: what later versions need is there now, and does what `docs/internals/acceptance.md` says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import msgpack
import msgspec
import pytest

from aioqueue import Queue
from aioqueue.broker.translate.submits import Translator
from aioqueue.clock import Now
from aioqueue.core import commands as c
from aioqueue.core import effects as f
from aioqueue.core import events as e
from aioqueue.core.nouns import Job
from aioqueue.core.partition import Partition
from aioqueue.core.queues import QueueState
from aioqueue.core.records import decode_events, encode_events
from aioqueue.errors import JournalDamaged, JournalNewer
from aioqueue.model.ids import generated_id, own_id, route_of
from aioqueue.model.records import JobExtra, pack_extra, unpack_extra
from aioqueue.model.spec import Spec, pack_spec
from aioqueue.model.states import JobState
from aioqueue.protocol import messages as m

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "internals" / "acceptance.md"
SPEC = Spec("default", "mail", "shop.send")
PACKED = pack_spec(SPEC)
NOW = Now(1_700_000_000_000, 1_000)


def new_job(number: int, extra: bytes | None = None) -> c.NewJob:
    key = generated_id("default", "mail", NOW.wall_ms, number.to_bytes(8, "big"))
    # Bytes of its own each time, as they come off the wire.
    return c.NewJob(key, SPEC, bytes(bytearray(PACKED)), b"\x01\x92\x90\x80", extra=extra)


def with_worker(partition: Partition, slots: int) -> int:
    [(session, _)] = partition.step([c.OpenSession(b"h" * 16, "default", "worker")], NOW, 1).replies
    partition.step([c.OfferCapacity(session, slots, ("mail",))], NOW, 2)
    return int(session)


class LastInFirstOut:
    """A lane as a later version might bring one."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    @property
    def depth(self) -> int:
        return len(self.jobs)

    def push(self, job: Job) -> None:
        self.jobs.append(job)

    def give_back(self, job: Job) -> None:
        self.jobs.append(job)

    def head(self) -> Job | None:
        return self.jobs[-1] if self.jobs else None

    def lease(self, job: Job) -> None:
        self.jobs.remove(job)

    def forget(self, job: Job) -> None:
        self.jobs.remove(job)

    def in_order(self) -> Iterator[Job]:
        return reversed(self.jobs)


def test_a_lane_of_another_order_is_all_that_another_order_needs() -> None:
    partition = Partition()
    partition.state.queues["default", "mail"] = queue = QueueState()
    queue.lane = LastInFirstOut()  # type: ignore[assignment]
    jobs = [new_job(number) for number in range(3)]
    partition.step([c.SubmitJobs(jobs)], NOW, 1)
    partition.step([c.CancelJob(jobs[1].id, "default")], NOW, 2)
    session = with_worker(partition, slots=2)
    leased = [job.id for job in partition.state.sessions[session].leases.values()]
    assert leased == [jobs[2].id, jobs[0].id]


async def test_an_option_that_this_broker_does_not_know_is_refused_and_not_dropped() -> None:
    item = m.SubmitItem(new_job(1).id, PACKED, b"\x01\x92\x90\x80", extra={15: b"a key"})
    submission = Translator().submission([item], "default")
    assert submission.jobs == []
    [refused] = submission.refused
    assert (refused.code, "[15]" in refused.message) == ("unsupported", True)


def test_options_by_number_travel_through_journal_and_archive_unread() -> None:
    extra = pack_extra(JobExtra(own_id="invoice-42", options={7: b"a key", 200: b"another"}))
    partition, again = Partition(), Partition()
    step = partition.step([c.SubmitJobs([new_job(1, extra)])], NOW, 1)
    events = decode_events(encode_events(step.events), "journal")
    again.replay(events, b"".join(step.bodies), 1, NOW.wall_ms)
    [job] = again.state.jobs.values()
    ended = again.step([c.CancelJob(job.id, "default")], NOW, 2)
    [finished] = [effect.finished for effect in ended.effects if isinstance(effect, f.ArchiveJob)]
    assert unpack_extra(finished.extra) == JobExtra(own_id="invoice-42", options={7: b"a key", 200: b"another"})


def test_a_million_jobs_of_a_task_would_hold_one_spec() -> None:
    partition = Partition()
    partition.step([c.SubmitJobs([new_job(number) for number in range(100)])], NOW, 1)
    assert len({id(job.spec) for job in partition.state.jobs.values()}) == 1


KINDS = {kind.__struct_config__.tag: kind for kind in e.JournaledEvent.__args__}


def test_an_event_of_a_later_version_is_told_apart_from_damage() -> None:
    due = [2, b"i" * 16, 5]
    assert decode_events(msgpack.packb([due]), "journal") == [e.JobDue(b"i" * 16, 5)]
    with pytest.raises(JournalNewer):
        decode_events(msgpack.packb([due, [min(e.RESERVED_KINDS), b"i" * 16]]), "journal")
    with pytest.raises(JournalNewer):
        decode_events(msgpack.packb([[*due, "a field of tomorrow"]]), "journal")
    with pytest.raises(JournalDamaged):
        decode_events(msgpack.packb([[2, "no id", 5]]), "journal")


def test_a_field_that_was_appended_has_a_default_for_the_records_before_it() -> None:
    # `generation` and `extra` stand last; a record that was written without them still reads.
    whole = e.JobSubmitted(b"i" * 16, PACKED, 1, JobState.READY, 0, 0, 4, 5)
    record = msgspec.msgpack.decode(msgspec.msgpack.encode(whole))
    assert decode_events(msgpack.packb([record[:9]]), "journal") == [whole]


def test_no_event_or_message_has_a_reserved_kind() -> None:
    messages = {kind.__struct_config__.tag for kind in (*m.ClientMessage.__args__, *m.BrokerMessage.__args__)}
    assert not e.RESERVED_KINDS.keys() & set(KINDS)
    assert not m.RESERVED_KINDS.keys() & messages
    assert e.RESERVED_KINDS
    assert m.RESERVED_KINDS


async def test_the_same_names_in_two_namespaces_are_two_of_everything(tmp_path: Path) -> None:
    assert own_id("default", "mail", "invoice-42") != own_id("other", "mail", "invoice-42")
    assert route_of("default", "mail") != route_of("other", "mail")
    first, second = (Queue(f"sqlite:{tmp_path / 'jobs.db'}", worker=False, namespace=name) for name in ("one", "two"))
    async with first:
        mine = await first.submit(first_task.options(id="invoice-42", delay="1h"))
    async with second:
        assert [info async for info in second.find()] == []
        theirs = await second.submit(first_task.options(id="invoice-42", delay="1h"))
        assert theirs.id != mine.id
        assert [info.id async for info in second.find()] == [theirs.id]


@Queue("memory:").task(name="room.first")
async def first_task() -> None:
    await asyncio.sleep(0)


def test_every_line_of_the_page_names_tests_that_exist() -> None:
    rows = [row for row in PAGE.read_text().splitlines() if row.startswith("| ") and not row.startswith("| room")]
    assert len(rows) >= 7
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", row.rpartition(" | ")[2])
        assert named, row
        for path, test in named:
            assert f"def {test}" in (ROOT / path).read_text() if test else (ROOT / path).exists(), row
