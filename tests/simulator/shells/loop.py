"""An event loop without a machine below it: time jumps to the next timer, and several processes take turns in it.

Each simulated process is a `Party` with a line of callbacks of its own, run in their order as asyncio would; which
party has the next turn is the seed's choice, so that every interleaving of processes may happen. A callback belongs
to the party in whose context it was made. A paused party keeps its callbacks, as a stopped process would, and a dead
one for ever. Sockets, threads and signals do not exist here.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from heapq import heapify, heappop
from random import Random
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

# Work takes time, so a task that only yields does not stop the clocks.
CALLBACK_NS: Final = 4_000
_NS_A_SECOND: Final = 1_000_000_000
_SWEEP_MIN: Final = 200
BURIAL_ROUNDS_MAX: Final = 100

_T = TypeVar("_T")


class Stuck(AssertionError):
    """Nothing can ever happen again."""


class Problem(NamedTuple):
    """What nobody expected, and the error that it came with."""

    what: str
    error: BaseException | None


class Party:
    """One process, or one thread with an event loop of its own."""

    def __init__(self, loop: VirtualLoop, name: str) -> None:
        self.name = name
        self.ready: deque[events.Handle] = deque()
        self.paused = False
        self.dead = False
        self.born_ms = loop.now_ms
        self.died_ms = 0
        self._loop = loop
        self.context: Context = copy_context()
        self.context.run(PARTY.set, self)
        loop.join(self)

    def __repr__(self) -> str:
        return self.name

    def start(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run a coroutine as a task of this party; what it fails with, or that it is cancelled, is a problem."""
        context = self.context.copy()
        task = self._loop.create_task(self._watched(work), context=context)
        # One that is cancelled before its first turn has never come to its work.
        task.add_done_callback(lambda task: work.close(), context=context)
        return task

    async def _watched(self, work: Coroutine[Any, Any, _T]) -> _T:
        try:
            return await work
        except (Exception, asyncio.CancelledError) as error:
            if not self._loop.over:
                self._loop.note(f"defect: {work.__qualname__} of {self} ended with {error!r}", error)
            raise

    def call(self, work: Callable[..., object], *arguments: Any) -> None:
        """Call a function in this party's next turn."""
        self._loop.call_soon(work, *arguments, context=self.context)

    def kill(self) -> None:
        """End it as SIGKILL would: no callback of it runs any more, no cleanup, no last word."""
        if self._loop.over:
            return
        self.dead = True
        self.died_ms = self._loop.now_ms
        # What is left of it must not be collected before the world is over: that would run its cleanup after all.
        self._loop.keep(asyncio.all_tasks(self._loop))
        if self in self._loop.parties:
            self._loop.parties.remove(self)


PARTY: ContextVar[Party] = ContextVar("party")


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop of one world. What has no party is the world's own, and always comes first."""

    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng = rng
        self.now_ns = 0
        # Callbacks that were run.
        self.steps = 0
        # Those that live, and all that ever did.
        self.parties: list[Party] = []
        self._all: list[Party] = []
        self._kernel: deque[events.Handle] = deque()
        self._kept: list[Any] = []
        self._generators: list[AsyncGenerator[Any, Any]] = []
        self.problems: list[Problem] = []
        # All is judged.
        self.over = False
        self.set_exception_handler(self._note)

    @property
    def now_ms(self) -> int:
        return self.now_ns // 1_000_000

    def time(self) -> float:
        return self.now_ns / _NS_A_SECOND

    def join(self, party: Party) -> None:
        """A party begins."""
        self.parties.append(party)
        self._all.append(party)

    def keep(self, things: Any) -> None:
        """Hold these until the world is over."""
        self._kept.append(things)

    def note(self, what: str, error: BaseException | None = None) -> None:
        """Something went wrong that nobody expected; whoever judges the world will see it."""
        self.problems.append(Problem(what, error))

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.note(f"defect: {context.get('message')}: {error!r}", error)

    # --- callbacks ---

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> events.Handle:  # type: ignore[override]
        handle = events.Handle(callback, args, self, context)
        self._enqueue(handle)
        return handle

    def _enqueue(self, handle: events.Handle) -> None:
        party = handle._context.get(PARTY)  # type: ignore[attr-defined]
        if party is None:
            self._kernel.append(handle)
        else:
            party.ready.append(handle)

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, context: Any = None) -> NoReturn:
        raise AssertionError("there are no threads in a simulated world")

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> NoReturn:
        raise AssertionError("there are no threads in a simulated world")

    def _run_once(self) -> None:
        """One turn of one party: what is ready when it begins."""
        self._fire_due()
        if self._kernel:
            ready, party = self._kernel, None
        else:
            parties = [party for party in self.parties if party.ready and not party.paused]
            if not parties:
                self._sleep()
                return
            party = parties[0] if len(parties) == 1 else parties[int(self._rng.random() * len(parties))]
            ready = party.ready
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:  # type: ignore[attr-defined]
                self.steps += 1
                self.now_ns += CALLBACK_NS
                handle._run()  # type: ignore[attr-defined]
                if party is not None and party.dead:
                    # By its own hand.
                    break

    def _fire_due(self) -> None:
        scheduled: list[Any] = self._scheduled  # type: ignore[attr-defined]
        now = self.time()
        while scheduled and (scheduled[0]._cancelled or scheduled[0]._when <= now):
            handle = heappop(scheduled)
            handle._scheduled = False
            if handle._cancelled:
                self._timer_cancelled_count -= 1
            else:
                self._enqueue(handle)
        if self._timer_cancelled_count > _SWEEP_MIN and self._timer_cancelled_count * 2 > len(scheduled):
            for handle in scheduled:
                handle._scheduled = not handle._cancelled
            scheduled[:] = [handle for handle in scheduled if handle._scheduled]
            heapify(scheduled)
            self._timer_cancelled_count = 0

    def _sleep(self) -> None:
        scheduled: list[Any] = self._scheduled  # type: ignore[attr-defined]
        if self._stopping:  # type: ignore[attr-defined]
            return
        if not scheduled:
            waiting = sorted(task.get_name() for task in asyncio.all_tasks(self))
            raise Stuck(f"liveness: nothing will ever happen again, and {waiting} wait")
        due_ns = int(scheduled[0]._when * _NS_A_SECOND)
        self.now_ns = max(self.now_ns, due_ns) + 1

    # --- the end of the world ---

    def _asyncgen_firstiter_hook(self, agen: AsyncGenerator[Any, Any]) -> None:
        # Held, for one that is collected would run its cleanup at a moment that no seed decides.
        self._generators.append(agen)

    def _asyncgen_finalizer_hook(self, agen: AsyncGenerator[Any, Any]) -> None:
        """None is ever collected before `bury`."""

    async def bury(self) -> None:
        """Let every task but this one end, those of the dead too, so that none is collected in the middle.

        Called when all is judged: what they still do is nobody's history any more.
        """
        self.over = True
        self.set_exception_handler(lambda loop, context: None)
        for party in self._all:
            party.paused = party.dead = False
        self.parties = list(self._all)
        for _ in range(BURIAL_ROUNDS_MAX):
            left = asyncio.all_tasks(self) - {asyncio.current_task(self)}
            if not left:
                return
            for task in left:
                task.cancel()
            await asyncio.sleep(1)
        raise AssertionError("stuck at the end: " + "; ".join(map(waits_in, left)))

    def dispose(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._generators.clear()
        self.problems.clear()
        self._all.clear()
        self._kernel.clear()
        self._scheduled.clear()  # type: ignore[attr-defined]
        self.parties.clear()
        self.close()


def waits_in(task: asyncio.Task[Any]) -> str:
    """Where a task waits, from the outside in."""
    places: list[str] = []
    what: Any = task.get_coro()
    while getattr(what, "cr_frame", None) is not None:
        places.append(f"{what.__qualname__}:{what.cr_frame.f_lineno}")
        what = what.cr_await
    return " > ".join(places)
