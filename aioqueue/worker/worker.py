"""A worker: a session at a broker, its slots, and their beginning and end.

It is wiring: `Session` talks to the broker, `Runners` run, `Threads` run plain functions, `Deadlines` wake. What is
here is the order in which they start and stop. Used by `aioqueue worker` (through `worker.child`), by an app that
embeds one (`async with Worker(queue)`), and by an embedded broker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Final, Literal, Self, get_args

import anyio

from aioqueue.client.identity import THIS_PROCESS
from aioqueue.client.queue import Queue
from aioqueue.errors import AioqueueError, BadOption
from aioqueue.limits import GOODBYE_SECONDS, LAST_ENDS_SECONDS, QUEUES_A_WORKER_MAX, SLOTS_MAX
from aioqueue.model.durations import Duration, to_ms
from aioqueue.model.labels import check_labels
from aioqueue.model.names import check_name
from aioqueue.model.sizes import count_text
from aioqueue.transport.address import Address, MemoryAddress, SqliteAddress
from aioqueue.transport.dialer import Dialer, Dials
from aioqueue.worker.calls import Calls
from aioqueue.worker.deadlines import Deadlines
from aioqueue.worker.endings import Stop
from aioqueue.worker.heartbeat import Heartbeat
from aioqueue.worker.idleness import IdleWatch
from aioqueue.worker.offering import Offering
from aioqueue.worker.partition import PartitionWatch
from aioqueue.worker.processes import Processes
from aioqueue.worker.runners import Runners
from aioqueue.worker.session import Session
from aioqueue.worker.threads import Threads
from aioqueue.worker.watchdog import Watchdog
from aioqueue.worker.wiring import ALONE, SECRET_BYTES, Wiring

_log = logging.getLogger(__name__)

THREADS_MAX: Final = 1_000
# Each is a Python of some 30 MB that has imported the app.
JOB_PROCESSES_MAX: Final = 1_000
OnPartition = Literal["run", "stop"]


class Worker:
    """Runs the jobs of a queue's tasks in this program: `async with Worker(queue)`, or `await worker.run()`.

    Example::

        async with Worker(queue, queues=("default", "mail"), concurrency=10, grace="30s"):
            print(await queue.run(send, "ada@example.com"))

    `queues` are those it takes jobs from, None for all that there are. It is given jobs of tasks that are declared
    here, and none that need `labels` which it does not have. `concurrency` is how many run at once, `threads` how many
    plain functions of these (as many as `concurrency`, at most 1,000). Tasks of `executor="process"` are counted apart:
    `job_processes` is how many of them run at once (as many as there are processors).

    `on_partition` says what becomes of running jobs when the broker has answered nothing for a `session_ttl`: they
    "run" on, and their ends are told when it is back, or they are stopped ("stop"), for others may be given them.

    When it stops it takes no more jobs, gives those that run `grace` seconds, then cancels them and gives them back; a
    cancelled job's own cleanup has `cancel_grace` seconds, twice. What then has no end is left behind, and given back
    by the beats of its session when it has: no attempt is spent, and the job never runs twice at once.

    `name` is what the broker shows of it. `wiring` is for whoever is no app, such as a supervisor.

    Raises `BadOption` or `BadName`.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        queues: Sequence[str] | None = None,
        concurrency: int = 100,
        threads: int | None = None,
        job_processes: int | None = None,
        grace: Duration = 30.0,
        cancel_grace: Duration = 5.0,
        on_partition: OnPartition = "run",
        labels: Sequence[str] = (),
        name: str = "",
        wiring: Wiring = ALONE,
    ) -> None:
        if not isinstance(queue, Queue):
            raise BadOption(option="queue", value=queue, reason="it must be a Queue, such as the app's own")
        self._queue = queue
        self._queues = None if queues is None else _checked_queues(queues)
        self._concurrency = _checked_count("concurrency", concurrency, SLOTS_MAX)
        threads = min(self._concurrency, THREADS_MAX) if threads is None else threads
        self._threads = _checked_count("threads", threads, THREADS_MAX)
        job_processes = min(os.cpu_count() or 1, JOB_PROCESSES_MAX) if job_processes is None else job_processes
        self._job_processes = _checked_count("job_processes", job_processes, JOB_PROCESSES_MAX)
        self._grace_ms = to_ms(grace, option="grace")
        self._cancel_grace_ms = to_ms(cancel_grace, option="cancel_grace")
        self._on_partition = _checked_on_partition(on_partition)
        self._labels = check_labels(labels)
        self._name = name or f"{socket.gethostname()}:{os.getpid()}"
        self._wiring = wiring
        self._task: asyncio.Task[None] | None = None
        self._reset()

    def _reset(self) -> None:
        # New ones for each stay: an event belongs to the loop that it was awaited in.
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()

    async def run(self) -> None:
        """Run jobs until `stop` is called; cancelling this is stopping in a hurry.

        The connection is made again whenever it is lost. Raises what no waiting can heal: a broker that refuses the
        session, or a journal that failed.
        """
        work = _Work(self)
        work.begin()
        if self._on_partition == "stop":
            work.partition.start()
        link = asyncio.create_task(work.session.link.run(), name=f"aioqueue worker's link to {self._queue.url}")
        try:
            await work.until_stopped(link)
        except asyncio.CancelledError:
            self.stop(hurry=True)
            raise
        except AioqueueError as error:
            _log.error("the worker stops: %s", error)
            raise
        finally:
            with anyio.CancelScope(shield=True):
                try:
                    await work.end(link)
                except BaseException:
                    work.abandon()
                    raise
                finally:
                    work.close()
                self._reset()

    def stop(self, *, hurry: bool = False) -> None:
        """Begin to stop in good order; `hurry`, or asking again, cuts the `grace` of running jobs short."""
        if hurry or self._stopping.is_set():
            self._hurrying.set()
        self._stopping.set()

    async def ready(self) -> None:
        """Wait until the broker has said Welcome to this worker."""
        await self._ready.wait()

    async def __aenter__(self) -> Self:
        if self._wiring.dialer is None:
            # A queue that cannot be used here is told before the block begins, which may wait for what never comes.
            _ = self._queue.dialer
        self._task = asyncio.create_task(self.run(), name="aioqueue worker")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if task is not None:
            self.stop(hurry=error is not None)
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                self.stop(hurry=True)
                with anyio.CancelScope(shield=True):
                    await asyncio.wait({task})
                raise
            if error is None:
                task.result()
            else:
                # What went wrong in the block is what its owner needs to see; the worker's own error is in the log.
                task.exception()


class _Work:
    """One stay at the broker, from the first connection to the goodbye."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        # Whether the broker is about to be told of another task.
        self._telling = False
        queue, wiring = worker._queue, worker._wiring
        ground = queue.ground
        secret = wiring.secret or ground.random(SECRET_BYTES)
        dialer = wiring.dialer or queue.dialer
        self._offering = offering = self._make_offering()
        self.session = Session(
            dialer,
            ground=ground,
            namespace=queue.namespace,
            name=worker._name,
            secret=secret,
            offering=offering,
            on_ready=wiring.on_ready,
        )
        self._threads = Threads(worker._threads)
        self._processes = Processes(worker._job_processes, queue.tasks)
        self._deadlines = Deadlines(ground.mono_ns)
        self._runners = Runners(
            offering.slots + offering.process_slots,
            Calls(queue.tasks, self._threads, self._processes, queue),
            self.session.box.put,
            self._deadlines,
            worker._cancel_grace_ms,
            ground.mono_ns,
            self.session.misfit,
            self.session.box.expect,
        )
        self.session.begin(self._runners)
        self._heartbeat: Heartbeat | None = None
        beats = _beats_to(queue.address, dialer)
        if wiring.secret is None and beats is not None:
            self._heartbeat = Heartbeat(
                beats, secret, namespace=queue.namespace, name=worker._name, ground=ground,
                process=THIS_PROCESS.id, about=THIS_PROCESS.about,
            )  # fmt: skip
        tell = wiring.on_pulse or (self._heartbeat.feel if self._heartbeat is not None else None)
        self.idleness = IdleWatch(self.session, self._runners, every=ground.every)
        self.partition = PartitionWatch(self.session.link, partial(self._runners.stop_all, Stop.PARTITION), ground)
        self.watchdog = Watchdog(self._runners, tell, mono_ns=ground.mono_ns)

    def begin(self) -> None:
        """Begin to look after it, from the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._worker._queue.tasks.listen(self._task_declared)
        self.watchdog.start()
        self.idleness.start()

    def close(self) -> None:
        """Look after it no more."""
        self._worker._queue.tasks.unlisten(self._task_declared)
        self.watchdog.stop()
        self.idleness.stop()
        self.partition.stop()

    def _task_declared(self) -> None:
        # Modules may be imported in any thread, and most declare several tasks at once.
        if not self._telling:
            self._telling = True
            self._loop.call_soon_threadsafe(self._offer_anew)

    def _offer_anew(self) -> None:
        self._telling = False
        self._runners.widen(self._offering.slots + self._offering.process_slots)
        self.session.offer_anew()

    def _make_offering(self) -> Offering:
        worker, queue = self._worker, self._worker._queue
        began_ms = worker._wiring.began_ms or queue.ground.now().mono_ms
        return Offering(
            queue.tasks,
            slots=worker._concurrency,
            process_slots=worker._job_processes,
            queues=worker._queues,
            labels=worker._labels,
            named_queues=queue.queues,
            up_ms=lambda: max(0, queue.ground.now().mono_ms - began_ms),
        )

    async def until_stopped(self, link: asyncio.Task[None]) -> None:
        """Work until the worker is stopped; raises what ended the link for good."""
        stopping = asyncio.create_task(self._worker._stopping.wait())
        welcomed = asyncio.create_task(self.session.welcomed.wait())
        try:
            await asyncio.wait({link, stopping, welcomed}, return_when=asyncio.FIRST_COMPLETED)
            if welcomed.done():
                self._worker._ready.set()
                if self._heartbeat is not None:
                    self._heartbeat.start()
                await asyncio.wait({link, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            welcomed.cancel()
        if link.done():
            link.result()

    async def end(self, link: asyncio.Task[None]) -> None:
        """Stop everything, in good order where the broker can still be told."""
        self.session.drain()
        if link.done():
            # Nobody will ever hear of these runs.
            self._runners.stop_all(Stop.STALE)
        else:
            await self._finish_running()
            self._runners.stop_all(Stop.DRAIN)
        await self._runners.wait_quiet()
        kept = self._runners.kept
        await self._say_goodbye(link, kept)
        await self._runners.aclose(self._heartbeat.farewell if self._heartbeat is not None else None)
        await self._processes.aclose()
        self._deadlines.close()
        self._threads.close()
        if self._heartbeat is not None and not kept:
            self._heartbeat.stop()

    def abandon(self) -> None:
        """End at once, without a word to the broker: the event loop itself is ending.

        `asyncio.run` cancels all tasks then and waits for them: a runner that went on would keep the program alive.
        """
        self._runners.abandon()
        self._deadlines.close()
        self._threads.close()
        if self._heartbeat is not None:
            self._heartbeat.stop()

    async def _finish_running(self) -> None:
        running = self._runners.running
        if running and not self._worker._hurrying.is_set():
            _log.info("waiting %g s at most for %s", self._worker._grace_ms / 1000, count_text(running, "running job"))
        quiet = asyncio.create_task(self._runners.wait_quiet())
        hurry = asyncio.create_task(self._worker._hurrying.wait())
        try:
            await asyncio.wait(
                {quiet, hurry}, timeout=self._worker._grace_ms / 1000, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            quiet.cancel()
            hurry.cancel()

    async def _say_goodbye(self, link: asyncio.Task[None], kept: int) -> None:
        told = asyncio.create_task(self.session.box.wait_empty())
        patience = LAST_ENDS_SECONDS
        if self._worker._hurrying.is_set():
            patience = GOODBYE_SECONDS if self.session.link.connected else 0
        await asyncio.wait({told, link}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        untold = len(self.session.box)
        if untold:
            _log.warning(
                "the ends of %s could not be told to the broker; what it was not told of runs again",
                count_text(untold, "job"),
            )
        if kept:
            _log.error(
                "left running, for no cancellation was heeded: %s, to be given back at the end", count_text(kept, "job")
            )
        if self._heartbeat is not None and kept:
            self._heartbeat.rest(self._runners.deaf)
        elif self._heartbeat is not None:
            self._heartbeat.leaving()
        if self._worker._wiring.on_leaving is not None:
            self._worker._wiring.on_leaving(untold, kept)
        if not link.done():
            await self.session.link.aclose(goodbye=not kept)
            await asyncio.wait({link})
        if not link.cancelled():
            # Whatever ended it while the worker was stopping has no one to hear it; asyncio would log it as lost.
            link.exception()


def _beats_to(address: Address, dialer: Dials) -> Dialer | None:
    """How a thread reaches the broker of this address; None for one that no thread can reach, nor needs to."""
    if isinstance(address, MemoryAddress):
        return None
    if isinstance(address, SqliteAddress):
        # To the owner of the journal, which may be this very process. The program may change its directory.
        return Dialer([SqliteAddress(os.path.realpath(address.path))])
    # Of several addresses, the session's own.
    return dialer if isinstance(dialer, Dialer) else Dialer([address])


def _checked_queues(queues: Sequence[str]) -> list[str]:
    if isinstance(queues, str) or not queues or len(queues) > QUEUES_A_WORKER_MAX:
        raise BadOption(option="queues", value=queues, reason=f"it must be a list of 1 to {QUEUES_A_WORKER_MAX} names")
    return [check_name("queue", name) for name in dict.fromkeys(queues)]


def _checked_on_partition(value: OnPartition) -> OnPartition:
    if value not in get_args(OnPartition):
        reason = f"it must be one of {', '.join(get_args(OnPartition))}"
        raise BadOption(option="on_partition", value=value, reason=reason)
    return value


def _checked_count(option: str, value: int, limit: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
        raise BadOption(option=option, value=value, reason=f"it must be a whole number from 1 to {limit}")
    return value
