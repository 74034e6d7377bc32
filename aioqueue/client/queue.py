"""`Queue`: an app's handle on a broker. Declares tasks without a connection, and inside `async with` submits them.

How it declares is in `client.declare`, how it comes to its broker in `client.connecting`, and what it sends for a
submit in `client.items`; here is what an app calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Final, ParamSpec, Self, TypeVar, overload

from aioqueue.client.bulk import BulkSubmit, Jobs, Progress, Unresolved
from aioqueue.client.children import Family
from aioqueue.client.connecting import Connects
from aioqueue.client.filters import Moment, make_filter
from aioqueue.client.info import JobInfo, friendly
from aioqueue.client.items import AnyTask, Items
from aioqueue.client.job import Job, Results, marked, name_own_id, result_of
from aioqueue.client.named import NamedTask
from aioqueue.client.options import TaskOptions
from aioqueue.client.patience import UNENDING, Patience, patience_of
from aioqueue.client.registry import Registry
from aioqueue.client.session import Session
from aioqueue.client.signature import pack_arguments
from aioqueue.client.submitting import Acceptance
from aioqueue.client.task import Call, OfOne, Task
from aioqueue.client.waiting import Ending
from aioqueue.errors import AioqueueError, BadOption, tells_an_end
from aioqueue.model.durations import Duration
from aioqueue.model.ids import id_bytes, own_id
from aioqueue.model.names import check_name
from aioqueue.model.states import State
from aioqueue.model.views import Statistics
from aioqueue.protocol.messages import SubmitFlag, SubmitItem

__tracebackhide__ = tells_an_end

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_WANT_RESULT: Final = int(SubmitFlag.WANT_RESULT)

_NO_TASK: Final = (
    "it must be a task (a function with @queue.task) or a task's name, and its arguments stand beside it, as in "
    "submit(task, 1, 2)"
)


class Queue(Connects):
    """A handle on the broker at `url`: the argument, else the environment's `AIOQUEUE_URL`.

    Where neither names one the queue can declare tasks, and is refused with `BadUrl` when it is entered.

    `namespace` keeps jobs apart that share a broker. `worker` runs jobs in this process too: None means yes for
    `memory:` and `sqlite:` and no for `tcp:`, a number is how many at once. `name` is how `aioqueue top` calls this
    client. `defaults` are options of its tasks that do not say otherwise. `timeout` is how long a call waits for the
    broker, None for as long as it takes; with `lazy` entering the queue does not wait for it at all.

    Example::

        queue = Queue("memory:", defaults={"retry": 3})

        @queue.task
        async def greet(name: str) -> str:
            return f"Hello, {name}!"

        async with queue:
            job = await queue.submit(greet, "Ada")
            assert await job == "Hello, Ada!"

    Raises `BadUrl`, `BadName` or `BadOption`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        namespace: str = "default",
        worker: bool | int | None = None,
        name: str = "",
        defaults: TaskOptions | None = None,
        timeout: Duration | None = "30s",
        lazy: bool = False,
    ) -> None:
        super().__init__(
            url, namespace=namespace, worker=worker, name=name, defaults=defaults, timeout=timeout, lazy=lazy
        )
        self._items = Items(self.namespace, self._ids)
        self._named: dict[str, NamedTask[Any]] = {}
        self._registry = Registry(self.tasks, self.namespace, lambda: self.ground.now().mono_ms)

    def using(self, timeout: Duration | None) -> Queue:
        """The same queue, whose calls wait for the broker for another time: `queue.using(timeout="2s").submit(…)`.

        It has the connection of this one, whenever that has one, and costs nothing to keep or to drop. Raises
        `BadOption`.
        """
        return _Using(self, patience_of(timeout))

    # --- submitting ---

    @overload
    async def submit(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Job[R]: ...
    @overload
    async def submit(self, task: NamedTask[R], /, *args: Any, **kwargs: Any) -> Job[R]: ...
    @overload
    async def submit(self, task: str, /, *args: Any, **kwargs: Any) -> Job[Any]: ...
    async def submit(self, task: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Submit one job; returns when the broker has it durably. A task's name serves too, untyped (see `named`).

        Example::

            job = await queue.submit(send, "ada@example.com")
            later = await queue.submit(send.options(delay="10m", priority="high"), "ada@example.com")

        A broker that cannot be reached is waited for, and a submit under way across its restart is accepted exactly
        once. Under an own id that a job of the task has, that job is given (`existed`). Raises `BadArguments`,
        `NotSerializable` or `PayloadTooLarge` before anything is sent; `Duplicate` for the id of another task's job,
        `QueueFull` and other refusals of the broker; `QueueClosed`. After the queue's `timeout`: `BrokerUnavailable`
        where the job was not sent, and `OutcomeUnknown`, with its id, where it was. Neither is sent later; nor is the
        job of a caller who was cancelled.
        """
        if task.__class__ is not Task:
            task = await self._resolved(task)
        session = self.session()
        if session.submitter.idle:
            self._ids.refresh()
        return await self._submit(session, task, self._items.item(task, task.pack(args, kwargs), 0), session.patience)

    async def submit_child(self, family: Family, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Job[Any]:
        """What `Context.submit` does. Raises what `submit` raises."""
        session = self.session()
        # A job that runs outlives every outage; its children come, however late.
        task = await self._resolved(task, session.within(UNENDING))
        item = self._items.child(family, task, task.pack(args, kwargs))
        return await self._submit(session, task, item, UNENDING)

    async def _submit(self, session: Session, task: AnyTask, item: SubmitItem, patience: Patience) -> Job[Any]:
        submitter = session.submitter
        # Asking for the running loop is a system call on Python 3.11, and `session` has done it.
        acceptance = Acceptance(submitter.loop)
        submitter.add(item, acceptance, patience)
        try:
            await acceptance.future
        except AioqueueError as error:
            if item.own_id:
                name_own_id(error, item.job, item.own_id)
            raise
        job: Job[Any] = Job(self.session, item.job, _results(task))
        if item.own_id or acceptance.there:
            return marked(job, item.own_id, existed=bool(acceptance.there))
        return job

    @overload
    async def submit_many(
        self, calls: Iterable[Call[R]], *, atomic: bool = True, progress: Progress | None = None
    ) -> list[Job[R]]: ...
    @overload
    async def submit_many(
        self, calls: AsyncIterable[Call[R]], *, atomic: bool = True, progress: Progress | None = None
    ) -> Jobs[R]: ...
    async def submit_many(
        self, calls: Any, *, atomic: bool = True, progress: Progress | None = None
    ) -> Sequence[Job[Any]]:
        """Submit all of the calls or none; the jobs are in their order. Returns when the broker has them durably.

        Example::

            jobs = await queue.submit_many(send.call(address) for address in ["ada@a.b", "grace@a.b"])

        There may be millions: they are taken from `calls`, an iterable or an async one, as fast as the broker takes
        them, and never held all at once; `progress` is called with how many it has on its disk. None of them runs
        before the last has arrived. With `atomic=False` each is accepted when it arrives, and may run at once.

        Gives a list, and for an async iterable a `Jobs`: a sequence that holds 16 bytes a job. Raises what `submit`
        raises; then nothing was submitted, or with `atomic=False` perhaps some of the jobs before. Raises
        `BulkTooLarge` for jobs with ids of their own among more than `ATOMIC_JOBS_MAX` or `ATOMIC_BYTES_MAX`, and
        `BulkUnknown` where the broker was not heard of for hours in between. The queue's `timeout` counts from the last
        progress; an `OutcomeUnknown` of it has the first `job`, and with `atomic=False` how many are `certain`.
        """
        if not isinstance(calls, Iterable | AsyncIterable):
            raise BadOption(option="calls", value=calls, reason="it must be an iterable of `task.call(...)`")
        if not isinstance(atomic, bool):
            raise BadOption(option="atomic", value=atomic, reason="it must be True or False")
        if progress is not None and not callable(progress):
            raise BadOption(option="progress", value=progress, reason="it must be a function of one number")
        self.session()
        jobs = await BulkSubmit(
            self.session, self._call_item, self._ids.refresh, self.ground.random, atomic, progress, self._resolved_call
        ).run(calls)
        return jobs if isinstance(calls, AsyncIterable) else list(jobs)

    def _call_item(self, call: Call[Any]) -> SubmitItem:
        if not isinstance(call, Call):
            raise BadOption(option="calls", value=call, reason="each of them must be a `task.call(...)`")
        if call.task.__class__ is not Task:
            return self._named_item(call)
        return self._items.item(call.task, _packed(call), 0)

    def _named_item(self, call: Call[Any]) -> SubmitItem:
        if not isinstance(call.task, NamedTask) or not call.task.resolved:
            raise Unresolved
        return self._items.item(call.task, call.pack(), 0)

    @overload
    async def run(self, task: Task[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def run(self, task: NamedTask[R], /, *args: Any, **kwargs: Any) -> R: ...
    @overload
    async def run(self, task: str, /, *args: Any, **kwargs: Any) -> Any: ...
    async def run(self, task: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Submit one job and wait for its result: `await queue.run(send, "ada@example.com")`.

        Raises what `submit` and `Job.result` raise.
        """
        if task.__class__ is not Task:
            task = await self._resolved(task)
        if task.plan(self.namespace).own_id:
            # Others may wait for this very job, whatever becomes of this submit.
            return await (await self.submit(task, *args, **kwargs))
        session = self.session()
        ending = self._send(session, task, args, kwargs)
        return result_of(await session.endings.reached(ending), _results(task))

    async def map(self, task: OfOne[T, R], items: Iterable[T], *, window: int = 100) -> AsyncGenerator[R, None]:
        """The results of `task(item)` in the order of the items, with at most `window` jobs under way.

        Example::

            async for sent in queue.map(send, ["ada@a.b", "grace@a.b"], window=10):
                print(sent)

        A job that did not succeed raises here what `Job.result` would; the others under way are left alone, as they
        are when the iterator is closed, save those that were not sent yet: they never will be.
        """
        found = await self._resolved(task)
        if own := found.plan(self.namespace).own_id:
            raise BadOption(option="id", value=own, reason="map makes a job of each item")
        if isinstance(window, bool) or not isinstance(window, int) or window < 1:
            raise BadOption(option="window", value=window, reason="it must be a whole number, at least 1")
        session = self.session()
        reached = session.endings.reached
        results = _results(found)
        under_way: deque[Ending] = deque()
        try:
            for item in items:
                if len(under_way) == window:
                    yield result_of(await reached(under_way.popleft()), results)
                under_way.append(self._send(session, found, (item,), {}))
            while under_way:
                yield result_of(await reached(under_way.popleft()), results)
        finally:
            for ending in under_way:
                ending.forget()

    def _send(self, session: Session, task: AnyTask, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ending:
        """Submit a job whose end the broker tells by itself."""
        if session.submitter.idle:
            self._ids.refresh()
        item = self._items.item(task, task.pack(args, kwargs), _WANT_RESULT)
        ending = session.endings.expect(item.job)
        session.submitter.add(item, ending, session.patience)
        return ending

    def _find_task(self, task: Any) -> AnyTask:
        if isinstance(task, Task | NamedTask):
            return task
        if not isinstance(task, str):
            # Not the value itself: a call with its arguments would be an error of a megabyte.
            name = type(task).__name__
            raise BadOption(option="task", value=name, reason=_NO_TASK)
        if task in self.tasks:
            return self.tasks.get(task)
        named = self._named.get(task)
        if named is None:
            named = self._named[task] = NamedTask(task, self._defaults)
        return named

    async def _resolved(self, task: Any, session: Session | None = None) -> AnyTask:
        """The task, and of a name what its declaration says."""
        found = self._find_task(task)
        if isinstance(found, Task) or found.resolved:
            return found
        return await self._registry.resolved(session or self.session(), found, asks=self.address.scheme != "memory")

    async def _resolved_call(self, call: Call[Any]) -> Call[Any]:
        return Call(await self._resolved(call.task), call.args, call.kwargs)

    @overload
    def named(self, task: str, result_type: type[T], *, unregistered: bool = False) -> NamedTask[T]: ...
    @overload
    def named(self, task: str, result_type: Any = Any, *, unregistered: bool = False) -> NamedTask[Any]: ...
    def named(self, task: str, result_type: Any = Any, *, unregistered: bool = False) -> NamedTask[Any]:
        """A task that this program cannot import, by its name; its results are read as `result_type`.

        Its jobs have the options that its declaration says, as a worker told the broker, and its arguments are checked
        before anything is submitted. A name that no worker has registered is refused with `UnknownTask`, unless
        `unregistered` is True or nothing is registered at all yet.

        Example::

            total = queue.named("billing.total", int, unregistered=True)
            job = await queue.submit(total.options(priority="high"), "order-42")

        Raises `BadName`, `BadOption` or `BadAnnotation`.
        """
        return NamedTask(task, self._defaults, result_type=result_type, unregistered=unregistered)

    # --- looking ---

    async def get(self, job_id: str, *, queue: str | None = None) -> Job[Any]:
        """The job of this id. With `queue`, the one that was submitted to that lane under your own `id=`.

        Its result is read as the task of that name declared here says, or as plain values if there is none.

        Raises `JobNotFound`, `ResultExpired` for one that ended long ago, and `BadName` or `BadOption` for a lane or an
        id of your own that cannot be.

        Example::

            await queue.submit(send.options(id="invoice-42"), "ada@example.com")
            job = await queue.get("invoice-42", queue="default")
            assert await queue.get(job.id) == job

        """
        key = id_bytes(job_id) if queue is None else own_id(self.namespace, check_name("queue", queue), job_id)
        try:
            info = await self.session().questions.info(key)
        except AioqueueError as error:
            if queue is not None:
                name_own_id(error, key, job_id)
            raise
        job: Job[Any] = Job(self.session, key, _results(self._find_task(info.task)))
        return marked(job, info.own_id or "")

    async def find(
        self,
        *,
        state: State | Iterable[State] | None = None,
        queue: str | None = None,
        task: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        id: str | None = None,
        error: str | None = None,
        limit: int | None = None,
    ) -> AsyncGenerator[JobInfo, None]:
        """Jobs in these states (`ready`, `dead`, …), of this lane and of this task, newest first, at most `limit`.

        Example::

            async for info in queue.find(state=["dead", "expired"], since="2h", limit=10):
                print(info.id, info.task, info.failure)

        `since` and `until` (a `datetime` with a time zone, ISO 8601 text, or how long ago, such as `"2h"`) are about
        the moment that the list is ordered by: the submit of a living job, the end of a finished one. `id` is how the
        id begins. `error` stands in the last failure as it is listed, `Type: text`, in this very case.

        The living come first. A job that ends while the list is read may appear in both parts.

        Raises `BadOption` for what cannot be, and `BadName`.
        """
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
            raise BadOption(option="limit", value=limit, reason="it must be 0 or more, or None for all")
        where = make_filter(
            self.ground.now().wall_ms,
            state=state, queue=queue, task=task, since=since, until=until, id=id, error=error,
        )  # fmt: skip
        async with aclosing(self.session().questions.pages(where, limit)) as pages:
            async for page in pages:
                for info in page.jobs:
                    yield friendly(info)

    async def statistics(self) -> AsyncGenerator[Statistics, None]:
        """What the broker does in this namespace, about once a second, as long as it is iterated.

        It outlives a restart of the broker.

        Example::

            async for now in queue.statistics():
                print({lane.queue: lane.ready for lane in now.queues})
                break
        """
        watchers = self.session().watchers
        watcher = watchers.add()
        try:
            while True:
                yield await watcher.next()
        finally:
            watchers.remove(watcher)


class _Using(Queue):
    """Another patience at a queue's connection; all else is the queue's own, as it is at the moment."""

    def __init__(self, queue: Queue, patience: Patience) -> None:
        self._own = vars(self)
        self._own.update(_queue=queue, _patience=patience, _items=queue._items, _ids=queue._ids, tasks=queue.tasks)

    def __getattr__(self, name: str) -> Any:
        if "_queue" not in vars(self):
            raise AttributeError(name)
        return getattr(self._queue, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "_own":
            object.__setattr__(self, name, value)
        else:
            setattr(self._queue, name, value)

    async def __aenter__(self) -> Self:
        await self._queue.__aenter__()
        return self

    def session(self) -> Session:
        session = self._queue.session()
        if self._own.get("_base") is not session:
            self._own.update(_base=session, _view=session.within(self._patience))
        view: Session = self._own["_view"]
        return view


async def looked_up(queue: Queue, task: NamedTask[R]) -> tuple[NamedTask[R], bool]:
    """The task as the registry knows it, and whether that is empty; for commands, which say so themselves. Raises what
    `submit` does.
    """
    found = await queue._resolved(task)
    assert isinstance(found, NamedTask)
    return found, queue._registry.empty


def _results(task: AnyTask) -> Results:
    return task.signature if isinstance(task, Task) else task


def _packed(call: Call[Any]) -> bytes:
    # `Task.call` saw that the arguments fit; to look again would cost 0.2 us.
    return pack_arguments(call.task.name, call.args, call.kwargs)
