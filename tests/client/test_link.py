from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from aioqueue.client.identity import THIS_PROCESS
from aioqueue.client.link import Link, Seen, chance_of, is_lasting, reconnect_seconds
from aioqueue.errors import (
    AioqueueError,
    BrokerUnavailable,
    ConnectionLost,
    HistoryLost,
    JournalFailed,
    ProtocolVersionMismatch,
    SessionOver,
    TooManySessions,
    WrongNamespace,
)
from aioqueue.ground import Ground
from aioqueue.protocol import messages as m
from aioqueue.transport.address import TcpAddress
from aioqueue.transport.dialer import Dialer
from tests.support.fake_broker import JOURNAL, FakeBroker, FakePeer

SECRET = b"0123456789abcdef"


class Owner:
    """Writes down what a link tells."""

    def __init__(self) -> None:
        self.welcomes: asyncio.Queue[m.Welcome] = asyncio.Queue()
        self.messages: asyncio.Queue[list[m.BrokerMessage]] = asyncio.Queue()
        self.losses: asyncio.Queue[Exception] = asyncio.Queue()

    def link(self, *brokers: FakeBroker, **arguments: Any) -> Link:
        return Link(
            Dialer([TcpAddress("127.0.0.1", broker.port) for broker in brokers]),
            role=m.Role.CLIENT,
            namespace="shop",
            name="web-1",
            secret=SECRET,
            on_welcome=self.welcomes.put_nowait,
            on_messages=self.messages.put_nowait,
            on_lost=self.losses.put_nowait,
            **{"ground": Ground(random=bytes), **arguments},
        )


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
async def running(owner: Owner, broker: FakeBroker) -> AsyncIterator[tuple[Link, asyncio.Task[None]]]:
    link = owner.link(broker)
    task = asyncio.create_task(link.run())
    yield link, task
    await link.aclose()
    await asyncio.wait([task])


Running = tuple[Link, asyncio.Task[None]]


async def test_hello_carries_who_the_session_is(running: Running, broker: FakeBroker) -> None:
    hello = await (await broker.accept()).expect(m.Hello)
    assert (hello.role, hello.namespace, hello.name, hello.secret) == (m.Role.CLIENT, "shop", "web-1", SECRET)
    assert (hello.version_min, hello.version_max) == (m.PROTOCOL_VERSION_MIN, m.PROTOCOL_VERSION)
    assert (hello.about, hello.process) == (THIS_PROCESS.about, THIS_PROCESS.id)
    assert (hello.journal_id, hello.epoch_seen, hello.position_seen) == (b"", 0, 0)


async def test_a_link_is_connected_from_its_welcome_on(running: Running, owner: Owner, broker: FakeBroker) -> None:
    link, _ = running
    peer = await broker.accept()
    await peer.expect(m.Hello)
    assert not link.connected
    peer.send(m.Welcome(1, 7, True, JOURNAL, 1, 0, 10_000))
    assert (await owner.welcomes.get()).session == 7
    assert link.connected


async def test_a_link_whose_broker_is_gone_goes_to_the_next_address(
    broker: FakeBroker, owner: Owner, started: Callable[..., Any]
) -> None:
    other = await FakeBroker().start()
    try:
        started(owner.link(broker, other).run())
        await broker.welcome()
        await broker.stop()
        await other.welcome(fresh=False)
        assert [(await owner.welcomes.get()).fresh for _ in range(2)] == [True, False]
    finally:
        await other.stop()


async def test_what_is_sent_inside_on_welcome_leaves(
    broker: FakeBroker, owner: Owner, started: Callable[..., Any]
) -> None:
    box: list[Link] = []

    def greet(_: m.Welcome) -> None:
        box[0].send_nowait(m.Watch())

    link = Link(
        Dialer([TcpAddress("127.0.0.1", broker.port)]),
        ground=Ground(),
        role=m.Role.CLIENT,
        namespace="shop",
        name="",
        secret=SECRET,
        on_welcome=greet,
        on_messages=owner.messages.put_nowait,
        on_lost=owner.losses.put_nowait,
    )
    box.append(link)
    started(link.run())
    peer = await broker.welcome()
    await peer.expect(m.Watch)


async def test_what_comes_behind_a_welcome_in_the_same_read_is_handed_over(
    running: Running, owner: Owner, broker: FakeBroker
) -> None:
    peer = await broker.accept()
    await peer.expect(m.Hello)
    peer.send(m.Welcome(1, 1, True, JOURNAL, 1, 0, 10_000), m.Ended([], 4))
    assert await owner.messages.get() == [m.Ended([], 4)]


async def test_a_ping_of_the_broker_is_answered(running: Running, broker: FakeBroker) -> None:
    peer = await broker.welcome()
    peer.send(m.Ping(41))
    assert await peer.read() == m.Pong(41)


async def test_a_link_that_has_nothing_to_say_pings(running: Running, broker: FakeBroker) -> None:
    peer = await broker.welcome(ttl_ms=300)
    await peer.next_ping()
    await peer.next_ping()
    assert peer.pings >= 2


async def test_a_broker_that_is_silent_for_a_session_ttl_is_lost(
    running: Running, owner: Owner, broker: FakeBroker
) -> None:
    await broker.welcome(ttl_ms=30)
    assert isinstance(await owner.losses.get(), ConnectionLost)
    await broker.welcome()


async def test_a_broker_that_only_answers_pings_is_kept(running: Running, owner: Owner, broker: FakeBroker) -> None:
    peer = await broker.welcome(ttl_ms=300)
    for _ in range(5):
        await peer.next_ping()
        peer.send(m.Pong(0))
    assert owner.losses.empty()


@pytest.mark.parametrize("end", [FakePeer.close, FakePeer.abort])
async def test_a_lost_connection_is_made_again_with_the_same_secret(
    running: Running, owner: Owner, broker: FakeBroker, end: Callable[[FakePeer], None]
) -> None:
    peer = await broker.welcome()
    await owner.welcomes.get()
    end(peer)
    assert isinstance(await owner.losses.get(), ConnectionLost)
    hello = await (await broker.accept()).welcome(fresh=False)
    assert hello.secret == SECRET
    assert not (await owner.welcomes.get()).fresh


async def test_the_next_hello_tells_the_highest_position_seen(
    running: Running, owner: Owner, broker: FakeBroker
) -> None:
    peer = await broker.welcome(position=5)
    peer.send(m.Ended([], 9), m.Ended([], 8))
    await owner.messages.get()
    peer.close()
    hello = await (await broker.accept()).welcome(position=9)
    assert (hello.journal_id, hello.epoch_seen, hello.position_seen) == (JOURNAL, 1, 9)


async def test_a_position_of_another_journal_is_forgotten(running: Running, owner: Owner, broker: FakeBroker) -> None:
    (await broker.welcome(position=50)).close()
    peer = await broker.accept()
    await peer.welcome(journal_id=b"restored-journal", position=3)
    peer.close()
    hello = await (await broker.accept()).welcome()
    assert (hello.journal_id, hello.epoch_seen, hello.position_seen) == (b"restored-journal", 1, 3)


async def test_a_position_is_told_with_the_epoch_that_it_is_of(
    running: Running, owner: Owner, broker: FakeBroker
) -> None:
    peer = await broker.welcome(position=50, epoch=3)
    peer.send(m.Ended([], 60))
    await owner.messages.get()
    peer.close()
    peer = await broker.accept()
    hello = await peer.welcome(position=55, epoch=4)
    assert (hello.epoch_seen, hello.position_seen) == (3, 60)
    peer.close()
    hello = await (await broker.accept()).welcome()
    assert (hello.epoch_seen, hello.position_seen) == (4, 55)


async def test_what_an_earlier_link_saw_is_told(owner: Owner, broker: FakeBroker, started: Callable[..., Any]) -> None:
    started(owner.link(broker, journal_seen=Seen(JOURNAL, 2, 12)).run())
    hello = await (await broker.accept()).expect(m.Hello)
    assert (hello.journal_id, hello.epoch_seen, hello.position_seen) == (JOURNAL, 2, 12)


async def test_another_broker_may_have_another_journal(
    owner: Owner, broker: FakeBroker, started: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    started(owner.link(broker, journal_seen=Seen(b"another-journal!", 2, 12, "tcp://elsewhere:7411")).run())
    await broker.welcome()
    await owner.welcomes.get()
    assert "another journal" not in caplog.text


async def test_a_link_that_finds_another_journal_than_before_says_so_once(
    running: Running, owner: Owner, broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    for journal in (JOURNAL, JOURNAL, b"restored-journal", b"restored-journal"):
        peer = await broker.accept()
        await peer.welcome(journal_id=journal)
        await owner.welcomes.get()
        peer.close()
        await owner.losses.get()
    [warning] = [record.getMessage() for record in caplog.records if "another journal" in record.getMessage()]
    assert f"the broker at {broker.url} has another journal than before" in warning
    assert b"restored-journal".hex() in warning
    assert JOURNAL.hex() in warning


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (m.Refusal(0, "protocol_version", "too old", {"client_min": 1}), ProtocolVersionMismatch),
        (m.Refusal(0, "wrong_namespace", "not yours", {}), WrongNamespace),
        (m.Refusal(0, "history_lost", "you saw more", {}), HistoryLost),
    ],
)
async def test_a_refusal_that_lasts_ends_the_link(
    running: Running, broker: FakeBroker, refusal: m.Refusal, kind: type[AioqueueError]
) -> None:
    _, task = running
    peer = await broker.accept()
    await peer.expect(m.Hello)
    peer.send(refusal)
    with pytest.raises(kind) as caught:
        await task
    assert str(caught.value) == refusal.message
    assert broker.unaccepted() == 0


@pytest.mark.parametrize("code", ["too_many_sessions", "session_over", "journal_failed", "queue_full"])
async def test_a_refusal_that_passes_is_tried_again(running: Running, broker: FakeBroker, code: str) -> None:
    peer = await broker.accept()
    await peer.expect(m.Hello)
    peer.send(m.Refusal(0, code, "not now"))
    await broker.welcome()


async def test_a_broker_that_finds_jobs_by_another_hash_is_not_used(running: Running, broker: FakeBroker) -> None:
    _, task = running
    await broker.welcome(hash_version=2)
    with pytest.raises(ProtocolVersionMismatch):
        await task


async def test_what_came_before_a_refusal_in_the_same_read_still_counts(
    running: Running, owner: Owner, broker: FakeBroker
) -> None:
    peer = await broker.welcome()
    peer.send(m.Ended([], 6), m.Refusal(0, "session_over", "it is over"))
    assert await owner.messages.get() == [m.Ended([], 6)]
    assert isinstance(await owner.losses.get(), SessionOver)
    await broker.welcome()


async def test_half_a_frame_at_the_end_is_a_lost_connection(running: Running, owner: Owner, broker: FakeBroker) -> None:
    peer = await broker.welcome()
    peer.send_bytes((100).to_bytes(4, "big") + b"half")
    peer.close()
    assert isinstance(await owner.losses.get(), ConnectionLost)
    await broker.welcome()


async def test_a_frame_that_comes_in_pieces_is_one_message(running: Running, owner: Owner, broker: FakeBroker) -> None:
    peer = await broker.accept()
    hello = await peer.expect(m.Hello)
    assert hello.secret == SECRET
    for byte in peer._codec.encode(m.Welcome(1, 9, True, JOURNAL, 1, 0, 10_000)):
        peer.send_bytes(bytes([byte]))
        await asyncio.sleep(0)
    assert (await owner.welcomes.get()).session == 9


async def test_bytes_that_are_no_message_end_the_connection_only(
    running: Running, owner: Owner, broker: FakeBroker
) -> None:
    peer = await broker.welcome()
    await owner.welcomes.get()
    peer.send_bytes(b"\x00\x00\x00\x04HTTP")
    assert (await owner.losses.get()).code == "malformed_frame"  # type: ignore[attr-defined]
    await broker.welcome()


async def test_a_broker_that_closes_is_connected_to_again(running: Running, owner: Owner, broker: FakeBroker) -> None:
    peer = await broker.welcome()
    peer.send(m.Closing("a new version is installed"))
    peer.close()
    assert "a new version is installed" in str(await owner.losses.get())
    await broker.welcome()


async def test_a_broker_that_never_says_welcome_is_given_up(
    running: Running, broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, _ = running
    monkeypatch.setattr("aioqueue.client.link.HANDSHAKE_MS", 20)
    await broker.accept()
    await broker.welcome()
    assert isinstance(link.trouble, BrokerUnavailable)


async def test_aclose_says_goodbye_and_run_returns(running: Running, owner: Owner, broker: FakeBroker) -> None:
    link, task = running
    peer = await broker.welcome()
    await owner.welcomes.get()
    await link.aclose()
    await task
    assert await peer.until_closed() == [m.Goodbye()]
    assert not link.connected


async def test_aclose_without_goodbye_leaves_the_session_to_its_time(
    running: Running, owner: Owner, broker: FakeBroker
) -> None:
    link, task = running
    peer = await broker.welcome()
    await owner.welcomes.get()
    await link.aclose(goodbye=False)
    await task
    assert await peer.until_closed() == []


async def test_aclose_ends_a_link_that_waits_to_connect_again(
    owner: Owner, broker: FakeBroker, started: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    def chance(count: int) -> bytes:
        asked.set()
        return b"\xff" * count

    monkeypatch.setattr("aioqueue.client.link.RECONNECT_BASE_SECONDS", 1e9)
    monkeypatch.setattr("aioqueue.client.link.RECONNECT_CAP_SECONDS", 1e9)
    link = owner.link(broker, ground=Ground(random=chance))
    await broker.stop()
    task = started(link.run())
    await asked.wait()
    await link.aclose()
    await task
    assert isinstance(link.trouble, BrokerUnavailable)


async def test_what_is_sent_without_a_connection_is_dropped(running: Running, owner: Owner, broker: FakeBroker) -> None:
    link, _ = running
    link.send_nowait(m.Watch())
    peer = await broker.welcome()
    await owner.welcomes.get()
    link.send_nowait(m.Watch(stop=True))
    await link.flush()
    assert await peer.read() == m.Watch(stop=True)


async def test_request_numbers_never_repeat(running: Running) -> None:
    link, _ = running
    assert [link.next_request() for _ in range(3)] == [1, 2, 3]


async def test_each_wait_asks_chance_anew(owner: Owner, broker: FakeBroker, started: Callable[..., Any]) -> None:
    asked: asyncio.Queue[None] = asyncio.Queue()

    def chance(count: int) -> bytes:
        asked.put_nowait(None)
        return bytes(count)

    await broker.stop()
    started(owner.link(broker, ground=Ground(random=chance)).run())
    for _ in range(3):
        await asked.get()


def test_the_wait_doubles_with_each_failure_up_to_the_cap() -> None:
    waits = [reconnect_seconds(failures, 1.0) for failures in range(8)]
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert reconnect_seconds(10_000, 0.5) == 1.0


def test_chance_is_from_0_up_to_1() -> None:
    assert all(0.0 <= chance_of(Ground()) < 1.0 for _ in range(1_000))
    assert chance_of(Ground(random=bytes)) == 0.0
    assert chance_of(Ground(random=lambda count: b"\xff" * count)) < 1.0


def test_only_what_waiting_cannot_heal_lasts() -> None:
    assert not is_lasting(BrokerUnavailable(url="tcp://x:1", reason="refused"))
    assert not is_lasting(TooManySessions(sessions=1, limit=1))
    assert is_lasting(JournalFailed(path="jobs.db", reason="no space"))
