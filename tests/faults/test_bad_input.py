"""Bad input is told by a clear error with a stable code, and does no harm to anybody else.

`BAD_INPUT` is the table: each row is one thing that is wrong, the code it is told by, a word that its sentence must
have, and a function that does it to real processes, sockets and files. What the command line makes of such errors is
tested in `tests/cli`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from anyio import create_task_group

from aioqueue import AioqueueError, JobFailed, Queue
from aioqueue.broker.opening import open_broker
from aioqueue.client.named import NamedTask
from aioqueue.errors import from_wire
from aioqueue.ground import Ground
from aioqueue.limits import BODY_BYTES_MAX, FRAME_BYTES_MAX, STRANGER_FRAME_BYTES_MAX
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.frames import FrameReader
from aioqueue.transport.address import SqliteAddress
from aioqueue.transport.tcp import listen
from tests.support.fake_broker import FakeBroker
from tests.support.logged_app import spoil, step
from tests.support.programs import BrokerProgram, WorkerProgram

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="module")]

CODEC: Final = Codec()
SECRET: Final = os.urandom(16)


class Place:
    """A broker and a worker that everybody is bad to, and a folder for each."""

    def __init__(self, broker: BrokerProgram, folder: Path) -> None:
        self.broker = broker
        self.folder = folder

    @property
    def url(self) -> str:
        return self.broker.url

    async def journal(self, name: str) -> Path:
        """A journal of its own with some batches, held by nobody."""
        path = self.folder / name
        async with Queue(f"sqlite:{path}", worker=False) as queue:
            for number in range(3):
                await queue.submit("step", number)
        return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("bad")
    async with AsyncExitStack() as stack:
        broker = BrokerProgram(folder, session_ttl="10s")
        await broker.start()
        stack.push_async_callback(broker.end)
        worker = WorkerProgram(folder, broker.url, grace="0s", concurrency=10)
        await worker.start()
        stack.push_async_callback(worker.end)
        yield Place(broker, folder)


# --- addresses ----------------------------------------------------------------------------------------------------


async def wrong_scheme(place: Place) -> None:
    Queue("http://127.0.0.1:7411")


async def no_port(place: Place) -> None:
    Queue("tcp://127.0.0.1:many")


async def nobody_listens(place: Place) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    async with Queue(f"tcp://127.0.0.1:{port}"):
        pass


async def port_is_taken(place: Place) -> None:
    await listen("127.0.0.1", place.broker.port)


# --- journals -----------------------------------------------------------------------------------------------------


async def journal_is_in_use(place: Place) -> None:
    async with open_broker(SqliteAddress(str(place.broker.journal)), ground=Ground()):
        pass


async def rewritten(place: Place, name: str, statement: str) -> Path:
    """A closed journal that somebody changed."""
    path = await place.journal(name)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(statement)
    return path


async def journal_is_damaged(place: Place) -> None:
    path = await rewritten(place, "damaged.db", "UPDATE batches SET data = zeroblob(length(data)) WHERE position = 1")
    async with Queue(f"sqlite:{path}"):
        pass


async def journal_lost_a_batch(place: Place) -> None:
    second_last = "SELECT max(position) - 1 FROM batches"
    path = await rewritten(place, "shorter.db", f"DELETE FROM batches WHERE position = ({second_last})")
    async with Queue(f"sqlite:{path}"):
        pass


async def journal_is_newer(place: Place) -> None:
    path = await rewritten(place, "newer.db", "PRAGMA user_version = 99")
    before = path.read_bytes()
    try:
        async with Queue(f"sqlite:{path}"):
            pass
    finally:
        assert path.read_bytes() == before


async def file_is_no_journal(place: Place) -> None:
    path = place.folder / "shop.py"
    path.write_text("print('no journal')\n" * 100)
    before = path.read_bytes()
    try:
        async with Queue(f"sqlite:{path}"):
            pass
    finally:
        assert path.read_bytes() == before


async def broker_went_back_in_time(place: Place) -> None:
    """A client saw history that an older copy of the same journal does not have."""
    await went_back(place, "copied.db", lives=1)


async def broker_was_followed_by_another(place: Place) -> None:
    """A client saw a broker that had gone on from where this one is."""
    await went_back(place, "followed.db", lives=2)


async def went_back(place: Place, name: str, lives: int) -> None:
    path = await place.journal(name)
    older = path.with_stem(f"{path.stem}-older")
    shutil.copy(path, older)
    queue = Queue("tcp://127.0.0.1:1", worker=False)
    for journal, before in [(path, True)] * lives + [(older, False)]:
        address = SqliteAddress(str(journal))
        async with open_broker(address, ground=Ground()) as broker, create_task_group() as tasks:
            listener = await listen("127.0.0.1", 0)
            tasks.start_soon(listener.serve, broker.attend, tasks)
            queue.url = listener.url
            try:
                async with queue:
                    for number in range(3 if before else 0):
                        await queue.submit("step", number)
            finally:
                await listener.aclose()
                tasks.cancel_scope.cancel()


# --- calls --------------------------------------------------------------------------------------------------------


async def unheard(call: Callable[[Queue], Awaitable[Any]]) -> None:
    """Make a call at a scripted broker, and see to it that nothing of it was sent."""
    async with AsyncExitStack() as stack:
        broker = await FakeBroker().start()
        stack.push_async_callback(broker.stop)
        queue = Queue(broker.url)
        entering = asyncio.ensure_future(stack.enter_async_context(queue))
        peer = await broker.welcome()
        await entering
        try:
            await call(queue)
        finally:
            queue.session().link.send_nowait(m.Watch())
            await peer.expect(m.Watch)


async def arguments_do_not_bind(place: Place) -> None:
    await unheard(lambda queue: queue.submit(step, 1, 2, 3))  # type: ignore[call-arg]


async def argument_is_missing(place: Place) -> None:
    await unheard(lambda queue: queue.submit_many([step.call()]))  # type: ignore[call-arg]


async def arguments_cannot_be_serialized(place: Place) -> None:
    await unheard(lambda queue: queue.submit("step", object()))


async def arguments_are_too_large(place: Place) -> None:
    await unheard(lambda queue: queue.submit("step", bytes(BODY_BYTES_MAX)))


async def bulk_is_too_large(place: Place) -> None:
    calls = [step.options(id=f"n{number}").call(number) for number in range(10_001)]
    await unheard(lambda queue: queue.submit_many(calls))


async def task_is_none(place: Place) -> None:
    await unheard(lambda queue: queue.submit(42))  # type: ignore[call-overload]


async def name_is_bad(place: Place) -> None:
    await unheard(lambda queue: queue.submit("two words"))


async def task_is_unknown(place: Place) -> None:
    async with registered(place) as queue:
        await queue.submit("nobody.knows", 1)


async def arguments_by_name_do_not_bind(place: Place) -> None:
    async with registered(place) as queue:
        await queue.submit("step", 1, 2, 3)


@asynccontextmanager
async def registered(place: Place) -> AsyncIterator[Queue]:
    """A program that imports none of the tasks; the worker has told of them."""
    async with Queue(place.url) as queue:
        while not (await queue.session().questions.registered(["step"])).tasks:  # noqa: ASYNC110 - nobody says when
            await asyncio.sleep(0.05)
        yield queue


async def job_is_unknown(place: Place) -> None:
    async with Queue(place.url) as queue:
        await queue.get("018bcfe5-6800-7781-8180-000000000000")


async def queue_is_not_entered(place: Place) -> None:
    await Queue(place.url).submit("step", 1)


# --- what a worker finds ------------------------------------------------------------------------------------------


async def failed_as(place: Place, kind: str, submit: Callable[[Queue], Awaitable[Any]]) -> None:
    """Await a job that must be kept as dead, with its reason."""
    async with Queue(place.url, defaults={"retry": 1}) as queue:
        job = await submit(queue)
        with pytest.raises(JobFailed) as failed:
            await job
        assert failed.value.type == kind
        info = await job.info()
        assert info.failure is not None
        assert (info.state, info.failure.type) == ("dead", kind)
        raise failed.value


async def result_cannot_be_serialized(place: Place) -> None:
    await failed_as(place, "NotSerializable", lambda queue: queue.submit(spoil))


async def arguments_fit_no_more(place: Place) -> None:
    """From a program of another release, which knew of nothing to check them by; the worker finds out."""
    unchecked: Any = NamedTask("step").as_described(None)
    await failed_as(place, "BadArguments", lambda queue: queue.submit(unchecked, 1, 2, 3))


# --- the wire -----------------------------------------------------------------------------------------------------


def hello(**changes: Any) -> bytes:
    fields: dict[str, Any] = {"version_min": 1, "version_max": 1, "role": m.Role.CLIENT, "secret": SECRET, **changes}
    return CODEC.encode(m.Hello(**fields))


async def say(place: Place, *data: bytes) -> None:
    """Say these bytes to the broker, each after it answered the one before; raises why it closed the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", place.broker.port)
    frames = FrameReader(FRAME_BYTES_MAX)
    said: list[m.Message] = []
    try:
        for number, each in enumerate(data):
            writer.write(each)
            while len(said) <= number < len(data) - 1:
                said += map(CODEC.decode_broker, frames.feed(await reader.read(65_536)))
        while received := await reader.read(65_536):
            said += map(CODEC.decode_broker, frames.feed(received))
    finally:
        writer.close()
    refusal = said[-1]
    assert isinstance(refusal, m.Refusal)
    assert refusal.request == 0
    raise from_wire(refusal.code, refusal.message, refusal.fields)


async def version_is_another(place: Place) -> None:
    await say(place, hello(version_min=7, version_max=9))


async def version_of_the_broker_is_another(place: Place) -> None:
    broker = await FakeBroker().start()
    try:
        entering = asyncio.ensure_future(Queue(broker.url).__aenter__())
        peer = await broker.accept()
        await peer.expect(m.Hello)
        fields = {"client_min": 1, "client_max": 1, "broker_min": 7, "broker_max": 9}
        peer.send(m.Refusal(0, "protocol_version", "upgrade the older of the two", fields))
        await entering
    finally:
        await broker.stop()


async def capability_is_missing(place: Place) -> None:
    await say(place, hello(required=1 << 60))


async def namespace_is_bad(place: Place) -> None:
    await say(place, hello(namespace="two words"))


async def frame_is_too_long(place: Place) -> None:
    await say(place, hello(), (FRAME_BYTES_MAX + 1).to_bytes(4, "big"))


async def stranger_is_too_long(place: Place) -> None:
    await say(place, (STRANGER_FRAME_BYTES_MAX + 1).to_bytes(4, "big"))


async def frame_is_no_msgpack(place: Place) -> None:
    await say(place, hello(), b"\x00\x00\x00\x04\xc1\xc1\xc1\xc1")


async def frame_is_of_no_kind(place: Place) -> None:
    await say(place, hello(), b"\x00\x00\x00\x02\x91\x7f")


async def somebody_speaks_http(place: Place) -> None:
    await say(place, b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n")


async def field_is_out_of_bounds(place: Place) -> None:
    await say(place, hello(role=m.Role.WORKER), CODEC.encode(m.Capacity(1_000_000_000, ["default"])))


async def nothing_was_said_before(place: Place) -> None:
    await say(place, CODEC.encode(m.GetJob(1, bytes(16))))


async def role_may_not_say_it(place: Place) -> None:
    await say(place, hello(), CODEC.encode(m.Capacity(1, ["default"])))


async def request_numbers_fall(place: Place) -> None:
    await say(place, hello(), CODEC.encode(m.GetJob(2, bytes(16))), CODEC.encode(m.GetJob(1, bytes(16))))


BAD_INPUT: Final = [
    ("bad_url", "http", wrong_scheme),
    ("bad_url", "many", no_port),
    ("broker_unavailable", "refused", nobody_listens),
    ("port_taken", "choose another --port", port_is_taken),
    ("journal_in_use", "tcp://HOST:PORT", journal_is_in_use),
    ("journal_damaged", "batch", journal_is_damaged),
    ("history_lost", "shorter.db", journal_lost_a_batch),
    ("journal_newer", "left untouched", journal_is_newer),
    ("not_a_journal", "shop.py", file_is_no_journal),
    ("history_lost", "a client saw position", broker_went_back_in_time),
    ("deposed", "an older copy of it was put back", broker_was_followed_by_another),
    ("bad_arguments", "step", arguments_do_not_bind),
    ("bad_arguments", "number", argument_is_missing),
    ("not_serializable", "object", arguments_cannot_be_serialized),
    ("payload_too_large", "the limit is", arguments_are_too_large),
    ("bulk_too_large", "ids of their own", bulk_is_too_large),
    ("bad_option", "task's name", task_is_none),
    ("bad_name", "two words", name_is_bad),
    ("job_not_found", "018bcfe5-6800-7781-8180-000000000000", job_is_unknown),
    ("not_entered", "async with queue", queue_is_not_entered),
    ("unknown_task", "no task 'nobody.knows' is registered", task_is_unknown),
    ("bad_arguments", "too many positional arguments; it is step(", arguments_by_name_do_not_bind),
    ("job_failed", "cannot be serialized", result_cannot_be_serialized),
    ("job_failed", "do not fit task step", arguments_fit_no_more),
    ("protocol_version", "upgrade the older of the two", version_is_another),
    ("protocol_version", "upgrade the older of the two", version_of_the_broker_is_another),
    ("capability_missing", hex(1 << 60), capability_is_missing),
    ("bad_name", "two words", namespace_is_bad),
    ("frame_too_long", str(FRAME_BYTES_MAX), frame_is_too_long),
    ("frame_too_long", str(STRANGER_FRAME_BYTES_MAX), stranger_is_too_long),
    ("malformed_frame", "could not be read", frame_is_no_msgpack),
    ("unexpected_message", "", frame_is_of_no_kind),
    ("foreign_protocol", "it speaks HTTP", somebody_speaks_http),
    ("malformed_frame", "could not be read", field_is_out_of_bounds),
    ("unexpected_message", "GetJob is not allowed before Hello", nothing_was_said_before),
    ("unexpected_message", "Capacity is not allowed", role_may_not_say_it),
    ("unexpected_message", "must rise", request_numbers_fall),
]


@pytest.mark.parametrize(
    ("code", "fragment", "do"), BAD_INPUT, ids=[f"{do.__name__}-is-{code}" for code, _, do in BAD_INPUT]
)
async def test_bad_input_is_told_by_its_code_and_harms_nobody_else(
    place: Place, code: str, fragment: str, do: Callable[[Place], Awaitable[None]]
) -> None:
    with pytest.raises(AioqueueError) as caught:
        await do(place)
    assert caught.value.code == code
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)
    # Nobody else is harmed by it.
    async with Queue(place.url) as queue:
        assert await queue.run(step, 21) == 42
