"""Heartbeats from a thread, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aioqueue.client.identity import THIS_PROCESS
from aioqueue.ground import Ground
from aioqueue.model.views import Block
from aioqueue.protocol import messages as m
from aioqueue.transport.address import TcpAddress
from aioqueue.transport.dialer import Dialer
from aioqueue.worker.heartbeat import Heartbeat
from aioqueue.worker.pulse import Pulse
from tests.support.fake_broker import FakeBroker, FakePeer
from tests.support.patience import eventually

SECRET = b"s" * 16
BLOCK = Block(b"j" * 16, "shop.send", "shop.py:7 in send", 1_200)
Beating = Callable[..., Heartbeat]
# What a worker says of itself, and stands on.
ABOUT: dict[str, Any] = {"ground": Ground(), "process": THIS_PROCESS.id, "about": THIS_PROCESS.about}


@pytest.fixture(autouse=True)
def no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that feels no pulse for a while has no loop that stands still."""
    monkeypatch.setattr("aioqueue.worker.pulse.SILENT_MS", 3_600_000)


@pytest.fixture
def beating(broker: FakeBroker) -> Iterator[Beating]:
    made: list[Heartbeat] = []

    def begin(*others: FakeBroker) -> Heartbeat:
        dialer = Dialer([TcpAddress("127.0.0.1", each.port) for each in (broker, *others)])
        made.append(Heartbeat(dialer, SECRET, namespace="shop", name="left-hand", **ABOUT))
        made[-1].start()
        return made[-1]

    yield begin
    for heartbeat in made:
        heartbeat.stop()
        assert heartbeat.join(60)


async def ended(heartbeat: Heartbeat) -> bool:
    return await asyncio.to_thread(heartbeat.join, 60)


async def test_it_says_the_session_s_secret_and_its_role(broker: FakeBroker, beating: Beating) -> None:
    beating()
    hello = await (await broker.accept()).welcome()
    assert (hello.role, hello.secret, hello.namespace, hello.name) == (m.Role.HEARTBEAT, SECRET, "shop", "left-hand")
    assert (hello.about, hello.process) == (THIS_PROCESS.about, THIS_PROCESS.id)


async def test_one_whose_broker_is_gone_beats_at_the_next_address(broker: FakeBroker, beating: Beating) -> None:
    other = await FakeBroker().start()
    try:
        beating(other)
        peer = await broker.welcome()
        await peer.expect(m.Beat)
        await broker.stop()
        await (await other.welcome()).expect(m.Beat)
    finally:
        await other.stop()


async def test_it_beats_again_and_again_with_the_loop_s_lag(
    broker: FakeBroker, beating: Beating, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Often, and yet it takes seconds of silence to make it leave.
    monkeypatch.setattr("aioqueue.worker.heartbeat.HEARTBEATS_A_TTL", 1_000)
    heartbeat = beating()
    heartbeat.feel(Pulse(17))
    peer = await broker.welcome(ttl_ms=10_000)
    for _ in range(5):
        assert await peer.expect(m.Beat) == m.Beat(17)


async def test_a_block_and_its_end_do_not_wait_for_the_next_beat(broker: FakeBroker, beating: Beating) -> None:
    heartbeat = beating()
    # With the usual time to live the next beat would be seconds away.
    peer = await broker.welcome()
    assert await peer.expect(m.Beat) == m.Beat()
    heartbeat.feel(Pulse(1_200, BLOCK))
    assert await peer.expect(m.Beat) == m.Beat(1_200, BLOCK)
    heartbeat.feel(Pulse(3))
    assert await peer.expect(m.Beat) == m.Beat(3)


async def test_a_silent_broker_is_left_while_there_is_always_news(broker: FakeBroker, beating: Beating) -> None:
    heartbeat = beating()
    silent = await broker.accept()
    silent.mute = True
    await silent.welcome(ttl_ms=30)
    heard = asyncio.create_task(broker.welcome())
    while not heard.done():
        heartbeat.feel(Pulse(0, BLOCK))
        heartbeat.feel(Pulse(0))
        await asyncio.sleep(0)
    await (await heard).expect(m.Beat)


async def test_a_ping_of_the_broker_is_answered(broker: FakeBroker, beating: Beating) -> None:
    beating()
    peer = await broker.welcome()
    await peer.expect(m.Beat)
    peer.send(m.Ping(42))
    assert await peer.expect(m.Pong) == m.Pong(42)


async def test_it_connects_again_when_the_connection_is_lost(broker: FakeBroker, beating: Beating) -> None:
    beating()
    peer = await broker.welcome()
    await peer.expect(m.Beat)
    peer.abort()
    await (await broker.welcome()).expect(m.Beat)


async def test_it_connects_again_when_the_broker_was_restarted(broker: FakeBroker, beating: Beating) -> None:
    beating()
    await (await broker.welcome()).expect(m.Beat)
    await broker.stop()
    await broker.start()
    await (await broker.welcome()).expect(m.Beat)


async def test_a_broker_that_says_nothing_is_left_and_told_of_at_once(
    broker: FakeBroker, beating: Beating, caplog: pytest.LogCaptureFixture
) -> None:
    beating()
    silent = await broker.accept()
    silent.mute = True
    await silent.welcome(ttl_ms=30)
    await (await broker.welcome()).expect(m.Beat)
    assert "heartbeats do not reach the broker" in caplog.text


async def test_a_refusal_is_logged_once_and_tried_again(
    broker: FakeBroker, beating: Beating, caplog: pytest.LogCaptureFixture
) -> None:
    beating()
    for _ in range(2):
        peer = await broker.accept()
        await peer.expect(m.Hello)
        peer.send(m.Refusal(0, "session_over", "session 7 has ended"))
        await peer.until_closed()
    await (await broker.welcome()).expect(m.Beat)
    assert caplog.text.count("session 7 has ended") == 1


async def test_bytes_that_are_no_frames_end_only_the_connection(broker: FakeBroker, beating: Beating) -> None:
    beating()
    peer = await broker.accept()
    await peer.expect(m.Hello)
    peer.send_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await peer.until_closed()
    await (await broker.welcome()).expect(m.Beat)


async def test_a_death_is_told_at_once_and_ends_the_beating(broker: FakeBroker, beating: Beating) -> None:
    heartbeat = beating()
    # With the usual time to live the next beat would be seconds away.
    peer = await broker.welcome()
    await peer.expect(m.Beat)
    heartbeat.died("was killed by SIGKILL")
    assert await peer.expect(m.WorkerDied) == m.WorkerDied("was killed by SIGKILL", 1)
    assert await peer.until_closed() == []
    assert await ended(heartbeat)


async def test_a_death_is_told_over_the_next_connection_if_there_is_none(broker: FakeBroker, beating: Beating) -> None:
    heartbeat = beating()
    await (await broker.welcome()).expect(m.Beat)
    await broker.stop()
    heartbeat.died("was killed by SIGKILL")
    await broker.start()
    assert await (await broker.welcome()).expect(m.WorkerDied) == m.WorkerDied("was killed by SIGKILL", 1)


async def test_a_death_is_told_again_when_nobody_answered(broker: FakeBroker, beating: Beating) -> None:
    heartbeat = beating()
    peer = await broker.welcome()
    await peer.expect(m.Beat)
    heartbeat.died("gone")
    peer.abort()
    assert await (await broker.welcome()).expect(m.WorkerDied) == m.WorkerDied("gone", 1)


async def told_and_not_answered(broker: FakeBroker, heartbeat: Heartbeat) -> FakePeer:
    """A connection over which the death of "gone" was told."""
    peer = await broker.welcome()
    await peer.expect(m.Beat)
    peer.mute = True
    heartbeat.died("gone")
    await peer.expect(m.WorkerDied)
    return peer


async def test_a_closed_connection_does_not_count_as_an_answer_to_a_death(broker: FakeBroker, beating: Beating) -> None:
    peer = await told_and_not_answered(broker, beating())
    peer.close()
    assert await (await broker.welcome()).expect(m.WorkerDied) == m.WorkerDied("gone", 1)


async def test_a_death_that_was_read_and_is_not_recorded_is_told_again(broker: FakeBroker, beating: Beating) -> None:
    heartbeat = beating()
    peer = await told_and_not_answered(broker, heartbeat)
    # That it lives proves nothing: it may be killed before the death is durable.
    peer.send(m.Pong())
    peer.abort()
    assert await (await broker.welcome()).expect(m.WorkerDied) == m.WorkerDied("gone", 1)
    assert await ended(heartbeat)


async def test_a_farewell_is_no_crash(broker: FakeBroker, beating: Beating) -> None:
    heartbeat = beating()
    peer = await broker.welcome()
    await peer.expect(m.Beat)
    heartbeat.leaving()
    # The worker's own connection is closed; its session goes on with what it left behind.
    heartbeat.feel(Pulse(0, BLOCK))
    assert await peer.expect(m.Beat) == m.Beat(0, BLOCK)
    heartbeat.farewell()
    assert heartbeat.owes
    assert await peer.expect(m.WorkerDied) == m.WorkerDied("", 1, leaving=True)
    assert await ended(heartbeat)
    assert not heartbeat.owes


async def test_a_broker_that_is_not_there_is_told_once_in_words(
    broker: FakeBroker, beating: Beating, caplog: pytest.LogCaptureFixture
) -> None:
    await broker.stop()
    heartbeat = beating()
    await eventually(lambda: "do not reach" in caplog.text)
    heartbeat.stop()
    assert await ended(heartbeat)
    told = f"heartbeats do not reach the broker: no broker answers at {broker.url}: connection refused; trying again"
    assert [record.message for record in caplog.records] == [told]


async def test_stopping_ends_the_thread_in_whatever_it_does(broker: FakeBroker, beating: Beating) -> None:
    connected, refused = beating(), None
    await (await broker.welcome()).expect(m.Beat)
    connected.stop()
    assert await ended(connected)
    await broker.stop()
    refused = beating()
    refused.stop()
    assert await ended(refused)


async def test_the_end_that_a_goodbye_brings_is_no_news(
    broker: FakeBroker, beating: Beating, caplog: pytest.LogCaptureFixture
) -> None:
    heartbeat = beating()
    peer = await broker.welcome()
    await peer.expect(m.Beat)
    heartbeat.leaving()
    peer.close()
    assert await ended(heartbeat)
    assert caplog.text == ""


async def test_a_connection_that_was_lost_once_is_no_news(
    broker: FakeBroker, beating: Beating, caplog: pytest.LogCaptureFixture
) -> None:
    heartbeat = beating()
    peer = await broker.welcome()
    await peer.expect(m.Beat)
    # The worker has said goodbye, and the word of that has not come here.
    peer.close()
    await (await broker.welcome()).expect(m.Beat)
    heartbeat.stop()
    assert await ended(heartbeat)
    assert caplog.text == ""


async def test_one_that_pauses_has_no_connection_until_it_goes_on(broker: FakeBroker, beating: Beating) -> None:
    heartbeat = beating()
    peer = await broker.welcome()
    await peer.expect(m.Beat)
    heartbeat.pause(True)
    assert await peer.until_closed() == []
    heartbeat.pause(False)
    await (await broker.welcome()).expect(m.Beat)


async def test_a_death_is_told_also_by_one_that_pauses(broker: FakeBroker, beating: Beating) -> None:
    heartbeat = beating()
    await (await broker.welcome()).expect(m.Beat)
    heartbeat.pause(True)
    heartbeat.died("gone")
    assert await (await broker.welcome()).expect(m.WorkerDied) == m.WorkerDied("gone", 1)
    assert await ended(heartbeat)


def test_one_that_never_began_can_be_stopped() -> None:
    heartbeat = Heartbeat(
        Dialer([TcpAddress("127.0.0.1", 1)]), SECRET, namespace="shop", name="", ground=Ground(), process=b"", about=b""
    )
    heartbeat.died("gone")
    heartbeat.stop()
    assert heartbeat.join(0)
