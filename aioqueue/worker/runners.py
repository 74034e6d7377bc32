"""Slots: a fixed number of tasks that each do one run after another.

A **runner** is a plain asyncio task that takes the next run from a deque, which costs 2 us where a task for each job
costs 6-8 and a cancel scope 6-8 more (DESIGN 10). It awaits the job's coroutine itself, so a job is stopped by one
`cancel()` of the runner, and the runner catches that cancellation: no other task ever sees it. The job's cleanup may
await for `cancel_grace_ms`; then it is cancelled once more; when that much time has passed again its end is reported
without it, and its slot gets a new runner. Where the job would be given to somebody else then, it is not reported but
kept, in its slot, until it has really ended: a job never begins beside a run of its own that was given back.

What a job leaves behind in its context variables never reaches the next one: such a runner is replaced too.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Final

from aioqueue.errors import Refused
from aioqueue.forked import in_child
from aioqueue.model.ids import id_text
from aioqueue.protocol.messages import DeliverItem
from aioqueue.worker import endings
from aioqueue.worker.bounds import Bounds
from aioqueue.worker.calls import Calls, TaskCall
from aioqueue.worker.deadlines import Deadline, Deadlines
from aioqueue.worker.endings import End, Stop
from aioqueue.worker.failures import Told, line_of, type_of
from aioqueue.worker.stacks import place_of_error

_log = logging.getLogger(__name__)
# A runner whose jobs end without waiting lets others have the event loop after this long.
_TURN_NS: Final = 1_000_000


class Slot:
    """Where one run can be, and the task that does it."""

    __slots__ = ("deadline", "kept", "lost", "run", "stop", "task", "waiter")

    def __init__(self) -> None:
        self.task: asyncio.Task[None]
        self.run: DeliverItem | None = None
        self.stop: Stop | None = None
        self.deadline: Deadline | None = None
        self.waiter: asyncio.Future[None] | None = None
        # Its run did not stop; another slot has taken this one's place.
        self.lost = False
        # Its run did not stop, and must not be given back before it has.
        self.kept = False


class Runners:
    """At most `slots` runs at once; what is more waits in order. `settle` is called with the `End` of each."""

    def __init__(
        self,
        slots: int,
        calls: Calls,
        settle: Callable[[End], None],
        deadlines: Deadlines,
        cancel_grace_ms: int,
        mono_ns: Callable[[], int],
        misfit: Callable[[DeliverItem, Exception], End] = endings.misfit_failed,
        on_failure: Callable[[DeliverItem], None] | None = None,
    ) -> None:
        self._on_failure = on_failure
        self._slots_max = slots
        self._calls = calls
        self._settle = settle
        self._deadlines = deadlines
        self._cancel_grace_ms = cancel_grace_ms
        self._mono_ns = mono_ns
        self._misfit = misfit
        self._context: Context = copy_context()
        self._waiting: deque[DeliverItem] = deque()
        self._slots: set[Slot] = set()
        self._idle: list[Slot] = []
        # Slots whose run never stopped, and its job: the event loop alone would forget their tasks.
        self._lost: dict[Slot, bytes] = {}
        self._bounds = Bounds(deadlines, self.stop)
        self._quiet: asyncio.Future[None] | None = None
        self._on_kept_ended: Callable[[], None] | None = None
        self._closed = False
        in_child(self, Runners._end_what_comes_back)

    def _end_what_comes_back(self) -> None:
        """In a forked child: one that returns from its coroutine as if it were the job ends there."""
        self._settle = lambda end: os._exit(0)

    # --- what the worker calls ---

    def offer(self, items: Sequence[DeliverItem]) -> None:
        """Run these as soon as slots are free, in their order."""
        for item in items:
            if item.extra:
                self._bounds.add(item, item.extra)
        self._waiting.extend(items)
        if self._waiting:
            self._wake()

    def widen(self, slots: int) -> None:
        """There may be so many runs at once from here on, if that is more."""
        self._slots_max = max(self._slots_max, slots)

    def held(self) -> list[DeliverItem]:
        """Every run that has begun or waits, and whose end was not settled."""
        return [item for slot in self._slots if (item := slot.run) is not None] + list(self._waiting)

    @property
    def deaf(self) -> list[bytes]:
        """The jobs of runs that heeded no cancellation and still go on, kept or not. Any thread may ask."""
        kept = [slot.run for slot in list(self._slots) if slot.kept]
        return [*list(self._lost.values()), *self._calls.left, *(item.job for item in kept if item is not None)]

    @property
    def kept(self) -> int:
        """How many of these are not given back before they have ended."""
        return sum(slot.kept for slot in list(self._slots))

    @property
    def running(self) -> int:
        """How many runs have begun and not ended, save those that are kept: nobody waits for them."""
        return sum(slot.run is not None and not slot.kept for slot in self._slots)

    def run_of(self, task: asyncio.Task[Any]) -> DeliverItem | None:
        """The run that this task does, if it is a runner. Any thread may ask; what it hears may be over."""
        # A copy is made at once, with the GIL held; the set itself changes while other threads look at it.
        return next((slot.run for slot in list(self._slots) if slot.task is task), None)

    def stop(self, item: DeliverItem, why: Stop) -> None:
        """Stop this run, by its cancellation if it has begun; nothing if it has ended."""
        if item in self._waiting:
            self._waiting.remove(item)
            self._bounds.drop(item)
            self._report(endings.stopped(item, why, None, True))
            return
        for slot in self._slots:
            if slot.run is item:
                self._stop(slot, item, why)
                return

    def stop_all(self, why: Stop) -> int:
        """Stop everything that runs or waits; how much of it was not being stopped already."""
        before = sum(slot.run is not None and slot.stop is None for slot in self._slots) + len(self._waiting)
        for item in self.held():
            self.stop(item, why)
        return before

    def take_back(self) -> list[DeliverItem]:
        """What has not begun; it is no longer held here."""
        items = list(self._waiting)
        self._waiting.clear()
        for item in items:
            self._bounds.drop(item)
        return items

    def stuck(self) -> str:
        """Which run waits beside a free slot; empty where none does."""
        free = len(self._idle) + self._slots_max - len(self._slots)
        if self._waiting and free > 0 and not self._closed:
            return f"job {id_text(self._waiting[0].job)} waits beside {free} free slots"
        return ""

    def nudge(self) -> None:
        """Let a free slot look at what waits."""
        self._wake()

    async def wait_quiet(self) -> None:
        """Wait until nothing runs or waits."""
        while self._waiting or self.running:
            if self._quiet is None or self._quiet.done():
                self._quiet = asyncio.get_running_loop().create_future()
            await self._quiet

    async def aclose(self, on_kept_ended: Callable[[], None] | None = None) -> None:
        """End the runners; what still runs is cancelled, not waited for, and its end is not told.

        `on_kept_ended` is called when the last of the runs that are kept has ended, if there are any.
        """
        idle = self._idle
        self.abandon()
        if self.kept:
            self._on_kept_ended = on_kept_ended
        if idle:
            await asyncio.wait([slot.task for slot in idle])

    def abandon(self) -> None:
        """The same without waiting for anybody."""
        self._closed = True
        self._waiting.clear()
        self._idle = []
        for slot in [*self._slots, *self._lost]:
            slot.lost = True
            slot.stop = slot.stop or Stop.STALE
            # One that is kept was cancelled twice; a third time would only forget the thread that it may be in.
            if not slot.kept:
                slot.task.cancel()

    # --- waking ---

    def _wake(self) -> None:
        """Let one more runner look at what waits, if there can be one."""
        if self._idle:
            waiter = self._idle.pop().waiter
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        elif len(self._slots) < self._slots_max and not self._closed:
            self._start_runner()

    def _start_runner(self) -> None:
        slot = Slot()
        self._slots.add(slot)
        # Not by the loop's task factory: an eager one would run a job inside the call that delivers it.
        loop = asyncio.get_running_loop()
        slot.task = asyncio.Task(self._serve(slot), loop=loop, context=self._context.copy())
        slot.task.add_done_callback(partial(self._runner_ended, slot))

    def _runner_ended(self, slot: Slot, task: asyncio.Task[None]) -> None:
        """A runner is gone: it left its slot, or its run closed the coroutine it runs in."""
        self._lost.pop(slot, None)
        self._slots.discard(slot)
        item, slot.run = slot.run, None
        error = None if task.cancelled() else task.exception()
        if item is not None and not slot.lost and not self._closed:
            self._report(endings.raised(item, error or asyncio.CancelledError(), retry=True))
        if self._waiting:
            self._wake()
        self._tell_if_quiet()
        if self._on_kept_ended is not None and not self.kept:
            tell, self._on_kept_ended = self._on_kept_ended, None
            tell()

    def _tell_if_quiet(self) -> None:
        if self._quiet is not None and not self._quiet.done() and not self._waiting and not self.running:
            self._quiet.set_result(None)

    # --- one runner ---

    async def _serve(self, slot: Slot) -> None:
        waiting = self._waiting
        pristine = copy_context()
        mono_ns = self._mono_ns
        while True:
            if not waiting:
                await self._wait(slot)
                if not waiting:
                    continue
            # Each runner that comes to life wakes two more while there is work: a frame of jobs reaches a thousand
            # slots in ten turns of the loop, yet jobs that end at once are done by the few that are awake.
            item = slot.run = waiting.popleft()
            if waiting:
                self._wake()
                self._wake()
            turn = mono_ns()
            while True:
                end = await self._attempt(slot, item)
                slot.run, slot.kept = None, False
                if item.extra:
                    self._bounds.drop(item)
                if slot.lost:
                    return
                if end is not None:
                    self._settle(end)
                if self._quiet is not None:
                    self._tell_if_quiet()
                if _differs(pristine):
                    return
                if not waiting:
                    break
                if mono_ns() - turn > _TURN_NS:
                    await asyncio.sleep(0)
                    turn = mono_ns()
                    if not waiting:
                        break
                item = slot.run = waiting.popleft()
            # An idle runner must not keep the last job's arguments and result alive.
            del item, end

    async def _wait(self, slot: Slot) -> None:
        slot.waiter = asyncio.get_running_loop().create_future()
        self._idle.append(slot)
        await slot.waiter

    async def _attempt(self, slot: Slot, item: DeliverItem) -> End | None:
        """Do one run to its end; gives what to settle. Nothing that a task does gets past it but GeneratorExit."""
        try:
            call = self._calls[item.task]
            made = call.start(item) if call.admit is None else await call.admit(item)
        except GeneratorExit:
            raise
        except BaseException as error:
            return self._not_started(slot, item, error)
        if item.timeout_ms:
            slot.deadline = self._deadlines.add(item.timeout_ms, partial(self._stop, slot, item, Stop.TIMEOUT))
        try:
            value = await made
        except GeneratorExit:
            # This coroutine is being closed and must not await again; `_runner_ended` tells of the run.
            raise
        except BaseException as error:
            return self._ended_badly(slot, item, call, error)
        if slot.deadline is not None:
            self._forget_stop(slot)
        try:
            return endings.succeeded(item, call.pack(value))
        except Exception as error:
            self._failed(item, error)
            return endings.unusable_result(item, error)

    def _not_started(self, slot: Slot, item: DeliverItem, error: BaseException) -> End | None:
        if (why := slot.stop) is not None:
            self._forget_stop(slot)
            return endings.stopped(item, why, error, True)
        if isinstance(error, Refused):
            return self._does_not_fit(item, error)
        self._failed(item, error)
        return endings.raised(item, error, retry=True)

    def _does_not_fit(self, item: DeliverItem, error: Exception) -> End:
        _log.warning("job %s does not fit task %s here: %s", id_text(item.job), item.task, line_of(error))
        return self._misfit(item, error)

    def _ended_badly(self, slot: Slot, item: DeliverItem, call: TaskCall, error: BaseException) -> End | None:
        why = slot.stop
        if slot.deadline is not None:
            self._forget_stop(slot)
        if why is not None:
            if why is Stop.TIMEOUT:
                self._failed(item, TimeoutError(f"it exceeded its timeout of {item.timeout_ms / 1000:g} s"))
            return endings.stopped(item, why, error, call.retries(TimeoutError()))
        if isinstance(error, Told) and error.misfit:
            return self._does_not_fit(item, error)
        self._failed(item, error)
        if isinstance(error, asyncio.CancelledError):
            return endings.cancelled_itself(item, error)
        return endings.raised(item, error, call.retries(error))

    def _failed(self, item: DeliverItem, error: BaseException) -> None:
        _log_failure(item, error)
        if self._on_failure is not None:
            self._on_failure(item)

    # --- stopping one run ---

    def _stop(self, slot: Slot, item: DeliverItem, why: Stop) -> None:
        if slot.run is not item:
            return
        if slot.stop is None:
            slot.stop = why
            slot.task.cancel()
            self._next_step(slot, partial(self._stop_again, slot, item))
        elif why is Stop.STALE:
            # Whatever was to be told before, nobody wants to know it now.
            slot.stop = why
            if slot.kept:
                slot.kept = False
                self._replace(slot)

    def _stop_again(self, slot: Slot, item: DeliverItem) -> None:
        slot.task.cancel()
        self._next_step(slot, partial(self._give_up, slot, item))

    def _give_up(self, slot: Slot, item: DeliverItem) -> None:
        """The run heeds no cancellation: tell its end without it, and let another runner have its place.

        Unless that end would let it begin somewhere else, beside the run that still goes on: then it is kept.
        """
        place = self._calls.place_of(slot.task)
        _log.error(
            "job %s of task %s was cancelled twice (%s) and does not stop; it goes on%s",
            id_text(item.job), item.task, slot.stop.value if slot.stop else "", f" at {place}" if place else "",
        )  # fmt: skip
        if slot.stop in endings.GIVES_AWAY:
            slot.kept = True
            self._tell_if_quiet()
            return
        why = slot.stop
        self._replace(slot)
        if why is not None:
            self._report(endings.stopped(item, why, None, self._calls[item.task].retries(TimeoutError())))
        self._tell_if_quiet()

    def _replace(self, slot: Slot) -> None:
        """Let another runner have the place of one whose run does not stop."""
        slot.lost = True
        item, slot.run = slot.run, None
        self._slots.discard(slot)
        self._lost[slot] = b"" if item is None else item.job
        # A call in a thread is waited for no longer, and another thread may take its place.
        slot.task.cancel()
        if self._waiting:
            self._wake()

    def _next_step(self, slot: Slot, action: Callable[[], None]) -> None:
        if slot.deadline is not None:
            slot.deadline.cancel()
        slot.deadline = self._deadlines.add(self._cancel_grace_ms, action)

    def _forget_stop(self, slot: Slot) -> None:
        """The run has ended: neither its timeout nor a cancellation it was sent may reach the next one."""
        if slot.deadline is not None:
            slot.deadline.cancel()
            slot.deadline = None
        if slot.stop is not None:
            slot.stop = None
            while slot.task.uncancel():
                pass

    def _report(self, end: End | None) -> None:
        if end is not None:
            self._settle(end)


def _differs(pristine: Context) -> bool:
    """Whether a job has changed a context variable; two contexts that share everything are compared by identity."""
    try:
        return copy_context() != pristine
    except Exception:
        # A value that cannot even be compared is a new one.
        return True


def _log_failure(item: DeliverItem, error: BaseException) -> None:
    place = place_of_error(error)
    _log.warning(
        "job %s of task %s failed in attempt %d: %s: %s%s",
        id_text(item.job), item.task, item.attempt, type_of(error), line_of(error), f" (at {place})" if place else "",
    )  # fmt: skip
