"""Notices that the event loop of a worker stands still, and says which task, file and line it stands in.

The loop leaves a sign a few times a second, at no cost to any job. A thread looks for it as often; where it is missing
for too long, the thread reads the stack of the loop's thread. C code that holds the GIL stops this thread as well:
then what is told comes late, as soon as the thread can run, and says so. Nothing here stops a task, and nothing
depends on it: heartbeats come from another process, or from a thread of their own.

One warning is logged when a block has lasted `LOOP_BLOCKED_MS`, and one with its length when it is over.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from aioqueue.limits import DEAF_NAMED_MAX, LOOP_BLOCKED_MS, LOOP_LOOKS_A_BLOCK
from aioqueue.model.ids import id_text
from aioqueue.model.views import Block
from aioqueue.protocol.messages import DeliverItem
from aioqueue.worker.pulse import Pulse
from aioqueue.worker.stacks import place_of

_log = logging.getLogger(__name__)
_NS_A_MS: Final = 1_000_000
_NS_A_SECOND: Final = 1_000_000_000


class Runs(Protocol):
    """What is asked, in the thread, of those that run: which jobs are deaf, and which run a task does."""

    @property
    def deaf(self) -> Sequence[bytes]: ...

    def run_of(self, task: asyncio.Task[Any]) -> DeliverItem | None: ...


class Watchdog:
    """Watches the event loop it is started in, until `stop`.

    `tell` is given what was seen: by `start` at once, then in the thread after every look.
    """

    def __init__(
        self,
        runs: Runs,
        tell: Callable[[Pulse], None] | None = None,
        *,
        mono_ns: Callable[[], int],
        blocked_ms: int = LOOP_BLOCKED_MS,
    ) -> None:
        self._runs = runs
        self._tell = tell
        self._mono_ns = mono_ns
        self._blocked_ns = blocked_ms * _NS_A_MS
        self._step_ns = self._blocked_ns // LOOP_LOOKS_A_BLOCK
        # Held until `stop`. A bare lock, for whoever wakes from it runs at once: C code that held the GIL is on the
        # stack for only a few microseconds after it has returned.
        self._going = threading.Lock()
        self._loop: asyncio.AbstractEventLoop
        self._loop_thread = 0
        self._timer: asyncio.TimerHandle | None = None
        # When the loop's next sign is due. It also names the block that begins when that sign does not come.
        self._due_ns = 0
        # How late signs were since the last look, and the blocks that ended, each as its name and its length.
        self._late_ns = 0
        self._ended: deque[tuple[int, int]] = deque()
        # The thread's own: the block that was told of and is not over.
        self._block: Block | None = None
        self._block_due_ns = 0

    def start(self) -> None:
        """Begin to watch the running event loop. May be called once."""
        self._going.acquire()
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._due_ns = self._mono_ns()
        self._sign()
        if self._tell is not None:
            # From here on silence means something: the very first job may hold the GIL.
            self._tell(Pulse(0))
        # A program that ends without stopping its worker must not wait for this thread.
        threading.Thread(target=self._watch, name="aioqueue watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watch no more; called in the event loop, more than once if need be."""
        if self._timer is not None:
            self._timer.cancel()
        if self._going.locked():
            self._going.release()

    # --- the event loop ---

    def _sign(self) -> None:
        now_ns = self._mono_ns()
        late_ns = now_ns - self._due_ns
        self._late_ns = max(self._late_ns, late_ns)
        if late_ns > self._blocked_ns:
            self._ended.append((self._due_ns, late_ns))
        self._due_ns = now_ns + self._step_ns
        self._timer = self._loop.call_later(self._step_ns / _NS_A_SECOND, self._sign)

    # --- the thread ---

    def _watch(self) -> None:
        while True:
            expected_ns = self._mono_ns() + self._step_ns
            if self._going.acquire(timeout=self._step_ns / _NS_A_SECOND):
                self._going.release()
                return
            if self._loop.is_closed():
                # It was closed without an end of its worker: there is nothing left to watch.
                return
            if self._loop.is_running():
                pulse = self._look(self._mono_ns(), expected_ns)
                if self._tell is not None:
                    self._tell(pulse)

    def _look(self, now_ns: int, expected_ns: int) -> Pulse:
        due_ns = self._due_ns
        self._tell_ended()
        still_ns = now_ns - due_ns
        if still_ns <= self._blocked_ns:
            self._block = None
        elif self._block is None or self._block_due_ns != due_ns:
            self._begin(due_ns, still_ns, now_ns - expected_ns > self._blocked_ns)
        else:
            block = self._block
            self._block = Block(block.job, block.task, block.place, still_ns // _NS_A_MS)
        late_ns, self._late_ns = self._late_ns, 0
        deaf = self._runs.deaf
        return Pulse(max(0, late_ns, still_ns) // _NS_A_MS, self._block, len(deaf), deaf[:DEAF_NAMED_MAX])

    def _begin(self, due_ns: int, still_ns: int, starved: bool) -> None:
        """See what the loop stands in; nothing is told if it went on meanwhile."""
        place = place_of(self._loop_thread)
        task = asyncio.current_task(self._loop)
        run = self._runs.run_of(task) if task is not None else None
        if self._due_ns != due_ns:
            return
        job, name = (run.job, run.task) if run is not None else (b"", "")
        self._block, self._block_due_ns = Block(job, name, place, still_ns // _NS_A_MS), due_ns
        _log.warning(
            "the event loop has stood still for %.1f s%s: %s%s",
            still_ns / _NS_A_SECOND, f" at {place}" if place else "", _who(run, task, place),
            "; no thread of this process could run meanwhile, as under C code that holds the GIL" if starved else "",
        )  # fmt: skip

    def _tell_ended(self) -> None:
        while self._ended:
            name_ns, late_ns = self._ended.popleft()
            if self._block is not None and self._block_due_ns == name_ns:
                _log.warning("the event loop runs again after %.1f s%s", late_ns / _NS_A_SECOND, _in_job(self._block))
                self._block = None
            else:
                _log.warning(
                    "the event loop stood still for %.1f s, and no thread could see where: C code that holds the GIL, "
                    "or a process that was stopped", late_ns / _NS_A_SECOND,
                )  # fmt: skip


def _who(run: DeliverItem | None, task: asyncio.Task[Any] | None, place: str) -> str:
    if run is not None:
        return f"job {id_text(run.job)} of task {run.task} blocks it"
    if task is not None:
        # A task that a job or the app has started; asyncio does not say who did.
        return f"the asyncio task {task.get_name()!r} blocks it"
    return "a callback blocks it" if place else "it is in nobody's code, so the process itself may have been stopped"


def _in_job(block: Block) -> str:
    return f" in job {id_text(block.job)} of task {block.task}" if block.job else ""
