"""Submits by name: what the task declares holds, and what cannot be is refused before anything is journaled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from aioqueue import Context, JobFailed, Queue, Worker
from aioqueue.broker.broker import Broker
from aioqueue.broker.line import nobody
from aioqueue.broker.opening import open_broker
from aioqueue.client import registry as remembering
from aioqueue.client.described import describe
from aioqueue.core import commands as c
from aioqueue.errors import BadArguments, BadResult, BrokerUnavailable, UnknownTask
from aioqueue.ground import Ground
from aioqueue.transport.address import SqliteAddress
from aioqueue.transport.tcp import listen
from tests.support.patience import eventually

Caller = Callable[[Queue, Any], Coroutine[Any, Any, Any]]


def app(url: str, *, retry: int = 1, name: str = "shop.send") -> Queue:
    """A release of the app that has the task."""
    queue = Queue(url)

    @queue.task(name=name, queue="mail", retry=retry, timeout="20s", priority="high")
    async def send(to: str, *, urgent: bool = False) -> str:
        if to == "nobody":
            raise ValueError("no address")
        return f"sent to {to}{' at once' if urgent else ''}"

    return queue


class Place:
    """A broker that may go away and come back, and what is connected to it."""

    def __init__(self, path: Path, stack: AsyncExitStack) -> None:
        self.url = ""
        self.broker: Broker
        self._path = path
        self._stack = stack
        self._serving: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """A broker in a task of its own: a fixture's end runs in another task than its beginning."""
        ready, self._stop = asyncio.Event(), asyncio.Event()
        self._serving = asyncio.create_task(self._serve(ready))
        await ready.wait()

    async def leave(self) -> None:
        serving, self._serving = self._serving, None
        if serving is not None:
            self._stop.set()
            await serving

    async def _serve(self, ready: asyncio.Event) -> None:
        async with (
            open_broker(SqliteAddress(str(self._path)), ground=Ground()) as broker,
            anyio.create_task_group() as tasks,
        ):
            listener = await listen("127.0.0.1", int(self.url.rpartition(":")[2]) if self.url else 0)
            tasks.start_soon(listener.serve, broker.attend, tasks)
            self.broker, self.url = broker, listener.url
            ready.set()
            await self._stop.wait()
            await listener.aclose()
            tasks.cancel_scope.cancel()

    async def worker(self, queue: Queue | None = None) -> Worker:
        queue = queue or app(self.url)
        await self._stack.enter_async_context(queue)
        worker = await self._stack.enter_async_context(Worker(queue))
        await worker.ready()
        await eventually(lambda: all(task.name in self.registered() for task in queue.tasks))
        return worker

    def registered(self) -> set[str]:
        return set(self.broker.engine.partition.state.registry.of("default"))

    async def client(self, **arguments: Any) -> Queue:
        """Another program: it imports nothing of the app."""
        return await self._stack.enter_async_context(Queue(self.url, worker=False, **arguments))

    def jobs(self) -> int:
        return len(self.broker.engine.partition.state.jobs)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        made = Place(tmp_path / "jobs.db", stack)
        await made.serve()
        yield made
        await stack.aclose()
        await made.leave()


async def submitted(queue: Queue, name: Any) -> Any:
    return await (await queue.submit(name, "ada", urgent=True))


async def ran(queue: Queue, name: Any) -> Any:
    return await queue.run(name, "ada", urgent=True)


async def mapped(queue: Queue, name: Any) -> Any:
    named = queue.named(name) if isinstance(name, str) else name
    return [each + " at once" async for each in queue.map(named, ["ada"])].pop()


async def in_bulk(queue: Queue, name: Any) -> Any:
    named = queue.named(name) if isinstance(name, str) else name
    [job] = await queue.submit_many([named.call("ada", urgent=True)])
    return await job


async def streamed(queue: Queue, name: Any) -> Any:
    named = queue.named(name) if isinstance(name, str) else name

    async def calls() -> AsyncIterator[Any]:
        yield named.call("ada", urgent=True)

    [job] = await queue.submit_many(calls())
    return await job


CALLERS = (submitted, ran, mapped, in_bulk, streamed)


@pytest.mark.parametrize("call", CALLERS)
async def test_a_submit_by_name_runs_as_the_declaration_says(place: Place, call: Caller) -> None:
    await place.worker()
    client = await place.client()
    assert await call(client, "shop.send") == "sent to ada at once"
    [info] = [info async for info in client.find()]
    assert (info.queue, info.priority) == ("mail", 8)


async def test_a_failure_by_name_is_tried_as_often_as_the_declaration_says(place: Place) -> None:
    await place.worker()
    client = await place.client(defaults={"retry": 9, "queue": "other"})
    job = await client.submit("shop.send", "nobody")
    with pytest.raises(JobFailed, match="no address"):
        await job
    info = await job.info()
    assert (info.queue, info.failures, info.state) == ("mail", 1, "dead")


async def test_options_of_a_submit_beat_those_of_the_declaration(place: Place) -> None:
    await place.worker()
    client = await place.client()
    job = await client.submit(client.named("shop.send").options(priority="low", delay="1h", id="letter-1"), "ada")
    info = await job.info()
    assert (info.queue, info.priority, info.state, info.own_id) == ("mail", 2, "scheduled", "letter-1")
    assert await client.get("letter-1", queue="mail") == job


@pytest.mark.parametrize("call", CALLERS)
async def test_a_name_that_is_not_registered_is_refused_with_the_nearest_names(place: Place, call: Caller) -> None:
    await place.worker()
    client = await place.client()
    for wrong in ("shop.sned", "send"):
        with pytest.raises(UnknownTask, match=r"did you mean shop\.send\?") as refused:
            await call(client, wrong)
        assert (refused.value.task, refused.value.known) == (wrong, "shop.send")
        assert f"write queue.named({wrong!r}, unregistered=True)" in str(refused.value)
    with pytest.raises(UnknownTask, match=r"'quite.other' is registered in namespace default\. A worker"):
        await call(client, "quite.other")
    assert place.jobs() == 0


@pytest.mark.parametrize("call", CALLERS)
async def test_an_unregistered_name_is_submitted_where_that_is_said(place: Place, call: Caller) -> None:
    await place.worker()
    client = await place.client()
    # Nobody serves that queue, so the job waits.
    named = client.named("billing.total", unregistered=True).options(queue="billing")
    calling = asyncio.ensure_future(call(client, named))
    await eventually(lambda: place.jobs() == 1)
    calling.cancel()


@pytest.mark.parametrize(
    ("args", "kwargs", "reason"),
    [
        ((), {}, "missing a required argument: 'to'"),
        (("ada", True), {}, "too many positional arguments"),
        (("ada",), {"urgnt": True}, "unexpected keyword argument 'urgnt'"),
    ],
)
async def test_arguments_are_checked_before_anything_is_journaled(
    place: Place, args: tuple[Any, ...], kwargs: dict[str, Any], reason: str
) -> None:
    await place.worker()
    client = await place.client()
    position = place.broker.engine.position
    with pytest.raises(BadArguments, match=reason) as refused:
        await client.submit("shop.send", *args, **kwargs)
    assert "shop.send(to: str, *, urgent: bool = ...)" in str(refused.value)
    with pytest.raises(BadArguments, match=reason):
        await client.submit_many([client.named("shop.send").call(*args, **kwargs)])
    assert place.broker.engine.position == position


async def test_a_name_is_submitted_and_that_is_said_while_nothing_is_registered(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    client = await place.client(defaults={"retry": 1})
    with caplog.at_level(logging.WARNING):
        await client.submit(client.named("shop.later", unregistered=True))
        job = await client.submit("shop.send", "ada")
        await client.submit("shop.send", "grace")
    told = [record.getMessage() for record in caplog.records if "registered any task" in record.getMessage()]
    assert len(told) == 1
    assert "task shop.send is submitted by its name alone" in told[0]
    assert (await job.info()).queue == "default"


async def test_a_program_asks_once_in_a_while_and_not_for_each_job(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.worker()
    client = await place.client()
    asked: list[Any] = []
    questions = client.session().questions
    real = questions.registered

    async def counted(names: Any, *more: Any, **options: Any) -> Any:
        asked.append(names)
        return await real(names, *more, **options)

    monkeypatch.setattr(questions, "registered", counted)
    for number in range(5):
        await client.submit("shop.send", f"{number}")
    assert asked == [["shop.send"]]
    monkeypatch.setattr(remembering, "REGISTRY_FRESH_MS", -1)
    await client.submit("shop.send", "ada")
    assert len(asked) == 2


async def test_a_later_release_reaches_those_who_submit_by_name(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.worker()
    client = await place.client()
    first = await client.submit("shop.send", "nobody")
    [task] = app(place.url, retry=4).tasks
    digest, body = describe(task)
    # As of a process that has just started.
    place.broker.engine.post(c.SetTasks("default", [c.DescribedTask(task.name, digest, body)], 0), nobody)
    await eventually(lambda: place.broker.engine.partition.state.registry.of("default")[task.name].body == body)
    monkeypatch.setattr(remembering, "REGISTRY_FRESH_MS", -1)
    second = await client.submit("shop.send", "nobody")
    with pytest.raises(JobFailed):
        await first
    assert (await first.info()).failures == 1
    await eventually_info(second, lambda info: info.state == "scheduled" and info.failures == 1)


async def eventually_info(job: Any, so: Callable[[Any], bool]) -> None:
    while not so(await job.info()):  # noqa: ASYNC110 - nobody says when
        await asyncio.sleep(0.05)


async def test_a_name_that_was_not_known_is_asked_for_anew(place: Place) -> None:
    await place.worker(app(place.url, name="shop.other"))
    client = await place.client()
    with pytest.raises(UnknownTask):
        await client.submit("shop.send", "ada")
    await place.worker()
    assert await client.run("shop.send", "ada") == "sent to ada"


async def test_what_was_known_holds_while_the_broker_is_away(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.worker()
    client = await place.client()
    await client.run("shop.send", "ada")
    monkeypatch.setattr(remembering, "REGISTRY_FRESH_MS", -1)
    await place.leave()
    await eventually(lambda: not client.session().link.connected)
    with pytest.raises(BadArguments):
        await client.submit("shop.send")
    waiting = asyncio.ensure_future(client.run("shop.send", "grace"))
    await asyncio.sleep(0)
    await place.serve()
    assert await waiting == "sent to grace"


async def test_a_name_that_is_not_known_waits_for_the_broker_as_any_other_call(place: Place) -> None:
    await place.worker()
    client = await place.client()
    await place.leave()
    await eventually(lambda: not client.session().link.connected)
    waiting = asyncio.ensure_future(client.run("shop.send", "grace"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await place.serve()
    assert await waiting == "sent to grace"


async def test_a_name_that_the_broker_does_not_tell_of_in_time_is_not_submitted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aioqueue.errors import DeadlineExceeded

    client = await place.client()

    async def late(*_: Any, **__: Any) -> Any:
        raise DeadlineExceeded(what="a page of the registry of tasks", seconds=30)

    monkeypatch.setattr(client.session().questions, "registered", late)
    with pytest.raises(BrokerUnavailable, match=r"task shop\.send declares, so nothing was submitted"):
        await client.submit("shop.send", "ada")


async def test_a_result_has_the_type_that_was_asked_for(place: Place) -> None:
    queue = Queue(place.url)

    @queue.task(name="count")
    async def count(numbers: list[int]) -> list[int]:
        return sorted(set(numbers))

    await place.worker(queue)
    client = await place.client()
    assert await client.run(client.named("count", set[int]), [3, 1, 3]) == {1, 3}
    assert await client.run(client.named("count"), [3, 1, 3]) == [1, 3]
    with pytest.raises(BadResult, match="count"):
        await client.run(client.named("count", str), [3])


async def test_a_running_job_submits_a_child_by_its_name_as_the_declaration_says(place: Place) -> None:
    await place.worker()
    queue = Queue(place.url)

    @queue.task(name="parent")
    async def parent(context: Context) -> str:
        child = await context.submit("shop.send", "ada")
        with pytest.raises(UnknownTask):
            await context.submit("shop.sned", "ada")
        return (await child.info()).queue

    await place.worker(queue)
    assert await queue.run(parent) == "mail"


async def test_a_queue_that_is_entered_again_asks_anew(place: Place, tmp_path: Path) -> None:
    await place.worker()
    client = Queue(place.url, worker=False)
    async with client:
        await client.submit("shop.send", "ada")
    client.url = f"sqlite:{tmp_path / 'other.db'}"
    async with client:
        # Nothing is registered there, so nothing is known of its arguments.
        assert (await (await client.submit("shop.send")).info()).queue == "default"


async def test_a_name_that_this_program_declares_needs_no_registry(place: Place) -> None:
    queue = app(place.url)
    async with queue:
        job = await queue.submit(queue.named("shop.send"), "ada")
        assert (await job.info()).queue == "mail"
        with pytest.raises(BadArguments):
            await queue.submit(queue.named("shop.send"))


async def test_a_memory_broker_is_never_asked_and_refuses_no_name() -> None:
    queue = app("memory:")
    queue.worker = False
    async with queue:
        assert (await (await queue.submit("shop.send", "ada")).info()).queue == "mail"
        assert (await (await queue.submit("quite.other", 1)).info()).queue == "default"


async def test_namespaces_have_registries_of_their_own(place: Place) -> None:
    await place.worker()
    client = await place.client(namespace="other")
    job = await client.submit("shop.send")
    assert (await job.info()).queue == "default"
