"""Many connections together: what they may hold in all, and who is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from aioqueue.broker import crowd as crowd_module
from aioqueue.broker.backlog import Gauge, Intake
from aioqueue.broker.crowd import TOLD_MAX, Crowd
from aioqueue.errors import TooManyConnections
from aioqueue.limits import STALLED_SECONDS
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.conversation import Conversation, Side
from aioqueue.transport.connection import Connection
from aioqueue.transport.memory import MemoryStream, memory_pair


class Tap(MemoryStream):
    """A stream that only remembers whether it is held."""

    def __init__(self) -> None:
        super().__init__(1)
        self.held = False

    def hold(self, held: bool) -> None:
        self.held = held


# --- what comes in ------------------------------------------------------------------------------------------------


def taps(intake: Intake, count: int) -> tuple[list[Tap], list[Gauge]]:
    streams = [Tap() for _ in range(count)]
    return streams, [Gauge(stream, intake) for stream in streams]


def test_above_the_bound_all_are_held_and_below_three_quarters_nobody() -> None:
    intake = Intake(100)
    streams, [one, other] = taps(intake, 2)
    seen = []
    for gauge, size in ((one, 60), (other, 40), (other, 1), (one, -20), (other, -6)):
        gauge.came(size) if size > 0 else gauge.decided(-size)
        seen.append({stream.held for stream in streams})

    assert seen == [{False}, {False}, {True}, {True}, {False}]


def test_one_that_comes_while_all_are_held_is_held_too_and_one_that_leaves_takes_its_bytes_along() -> None:
    intake = Intake(100)
    _, [gauge] = taps(intake, 1)
    gauge.came(101)
    [late], _ = taps(intake, 1)
    assert late.held
    gauge.move(None)
    assert (late.held, intake.size) == (False, 0)
    # What it asked is decided later, and nobody's any more.
    gauge.decided(50)
    assert intake.size == 0


def test_a_worker_is_not_held_for_what_clients_said_before_it_turned_out_to_be_one() -> None:
    clients, workers = Intake(100), Intake(100)
    [stream, _], [gauge, other] = taps(clients, 2)
    gauge.came(10)
    other.came(100)
    assert stream.held
    gauge.move(workers)
    assert (stream.held, clients.size, workers.size) == (False, 100, 10)


def test_only_where_nothing_can_be_decided_any_more_is_somebody_in_the_way() -> None:
    intake = Intake(100)
    _, [small, large] = taps(intake, 2)
    small.came(40)
    large.came(70)
    small.asked(40)
    assert [intake.stuck(), intake.stuck()] == [None, None]
    small.decided(40)
    large.came(40)
    assert [intake.stuck(), intake.stuck()] == [None, large]


# --- what goes out ------------------------------------------------------------------------------------------------


class Peers:
    """A crowd of connections whose peers read nothing."""

    def __init__(self, tasks: anyio.abc.TaskGroup) -> None:
        self.crowd = Crowd()
        self._tasks = tasks
        self._far: list[MemoryStream] = []

    def connect(self) -> Connection[m.ClientMessage]:
        near, far = memory_pair(1_000)
        self._far.append(far)
        connection = Connection(
            near, decode=Codec().decode_client, conversation=Conversation(Side.BROKER),
            on_outbox=self.crowd.outbox_grew,
        )  # fmt: skip
        self.crowd.enter(connection, near)
        self._tasks.start_soon(connection.run_writer)
        return connection

    async def read(self, index: int) -> None:
        await self._far[index].receive()
        # The sender, its connection's writer, and what waits for that.
        for _ in range(5):
            await asyncio.sleep(0)


@asynccontextmanager
async def peers() -> AsyncIterator[Peers]:
    async with anyio.create_task_group() as tasks:
        yield Peers(tasks)
        tasks.cancel_scope.cancel()


def load(connection: Connection[m.ClientMessage], size: int) -> None:
    connection.send_nowait(m.Refusal(0, "refused", "x" * size))


async def test_where_too_much_waits_in_all_those_for_which_most_waits_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd_module, "OUTBOXES_BYTES_MAX", 100_000)
    async with peers() as at:
        small, large, larger = at.connect(), at.connect(), at.connect()
        load(small, 10_000)
        load(large, 40_000)
        assert not large.closed
        load(larger, 60_000)
        assert [each.closed for each in (small, large, larger)] == [False, False, True]
        assert at.crowd.outbox_bytes == small.outbox_bytes + large.outbox_bytes


async def test_who_takes_nothing_is_cut_off_after_a_while_and_who_reads_slowly_is_not() -> None:
    async with peers() as at:
        idle, stalled, slow = at.connect(), at.connect(), at.connect()
        load(stalled, 50_000)
        load(slow, 2_000_000)
        await asyncio.sleep(0)
        for look in range(int(STALLED_SECONDS) + 1):
            assert not stalled.closed
            before = slow.handed_bytes
            while look % 10 == 0 and slow.handed_bytes == before:
                await at.read(2)
            at.crowd.look()
        assert [each.closed for each in (idle, stalled, slow)] == [False, True, False]


async def test_a_frame_that_nobody_finishes_is_cut_off_when_it_is_in_the_way_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crowd_module, "INTAKE_BYTES_MAX", 1_000)
    async with peers() as at:
        quiet, _, blocking = at.connect(), at.connect(), at.connect()
        await at._far[2].send(b"\x00\x00\x0f\xff" + bytes(600))
        await at._far[1].send(b"\x00\x00\x0f\xff" + bytes(500))
        assert at.crowd.clients.shut
        at.crowd.look()
        at.crowd.look()
        assert (quiet.closed, blocking.closed, at.crowd.clients.shut) == (False, True, False)


# --- how many -----------------------------------------------------------------------------------------------------


async def test_the_crowd_is_full_at_its_limit_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    async with peers() as at:
        at.crowd.limit = 1
        first = at.connect()
        for _ in range(3):
            with pytest.raises(TooManyConnections, match="1 connections already"):
                at.connect()
        assert len(caplog.records) == 1
        at.crowd.leave(first)
        at.connect()
        assert len(at.crowd) == 1


async def test_one_stranger_too_many_is_the_oldest_and_who_said_hello_or_left_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crowd_module, "STRANGERS_MAX", 2)
    async with peers() as at:
        known, gone, oldest, *_ = [at.connect() for _ in range(2)] + [at.connect()]
        at.crowd.known(known)
        at.crowd.leave(gone)
        at.connect()
        assert at.crowd.surplus() is None
        at.connect()
        assert at.crowd.surplus() is oldest
        assert at.crowd.surplus() is None


def test_of_a_flood_only_some_are_told_at_a_time() -> None:
    crowd = Crowd()
    assert [crowd.may_tell() for _ in range(TOLD_MAX + 1)] == [True] * TOLD_MAX + [False]
    crowd.told()
    assert crowd.may_tell()
