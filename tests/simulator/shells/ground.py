"""The ground a simulated world stands on: chance, clocks, connections and threads of its own in place of the machine's.

Everything that asks the machine is turned to the seed here, in one place, for as long as a world lasts. Sets of
objects that are ordered by their addresses are made to keep the order in which they were filled, and garbage is
collected when the world says so, or the same seed would not give the same world after others.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import anyio.to_thread
import pytest
from anyio._backends import _asyncio as anyio_backend

from aioqueue.broker import disk as broker_disk
from aioqueue.broker import idleness as broker_idleness
from aioqueue.client import bulk, connecting
from aioqueue.clock import Now, SystemClock
from aioqueue.core.decide import bulks
from aioqueue.ground import Ground
from aioqueue.protocol.messages import DeliverItem
from aioqueue.worker import calls, failures, runners, worker
from aioqueue.worker import idleness as worker_idleness
from tests.simulator.shells.loop import PARTY, VirtualLoop
from tests.simulator.shells.network import Network

EPOCH_MS = 1_700_000_000_000
# Bulks are small here: so many jobs are staged, in parts of so many, and freed so many at a time.
ATOMIC_JOBS_MAX = 4
BULK_PART_JOBS_MAX = 2
BULK_FREED_MAX = 3
# When a bulk that nobody goes on with is given up.
BULK_OPEN_MS = 10_000
_TRACEBACK = "  in a task of the simulator\n" * 20


class Ordered(dict[Any, None]):
    """A set that keeps its order, as far as the program needs one."""

    def add(self, thing: Any) -> None:
        self[thing] = None

    def discard(self, thing: Any) -> None:
        self.pop(thing, None)

    def remove(self, thing: Any) -> None:
        del self[thing]

    def __or__(self, other: Any) -> Ordered:  # type: ignore[override]
        both = Ordered(self)
        both.update(dict.fromkeys(other))
        return both


class Clocks:
    """The clocks of one machine: they run with the loop's time, and somebody may set the one on the wall."""

    def __init__(self, loop: VirtualLoop, booted_ms: int) -> None:
        self._loop = loop
        self._booted_ms = booted_ms
        self.set_ms = 0

    def now(self) -> Now:
        now_ms = self._loop.now_ms
        return Now(EPOCH_MS + self.set_ms + now_ms, self._booted_ms + now_ms)

    def mono_ns(self) -> int:
        return self._booted_ms * 1_000_000 + self._loop.now_ns


@contextmanager
def grounded(loop: VirtualLoop, rng: Random, network: Network, heartbeat: Callable[..., Any]) -> Iterator[None]:
    """Let the program run on this loop, with this chance, over this network."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with pytest.MonkeyPatch.context() as patch, _own_garbage():
            ground = Ground(Clocks(loop, 1_000), rng.randbytes)
            patch.setattr(connecting, "ground_of", lambda: ground)
            # Nobody may ask the machine beside it.
            patch.setattr(SystemClock, "now", _no_machine)
            patch.setattr(os, "urandom", _no_machine)
            patch.setattr(connecting, "dialer_of", lambda addresses: network)
            patch.setattr(worker, "Heartbeat", heartbeat)
            patch.setattr(worker, "Watchdog", _NoWatchdog)
            patch.setattr(broker_disk, "Reserve", _Reserve)
            # A real one names files, and would be longer in another directory.
            patch.setattr(failures, "_traceback_of", lambda error: _TRACEBACK)
            patch.setattr(anyio.to_thread, "run_sync", _at_once)
            patch.setattr(bulk, "ATOMIC_JOBS_MAX", ATOMIC_JOBS_MAX)
            patch.setattr(bulk, "BULK_PART_JOBS_MAX", BULK_PART_JOBS_MAX)
            patch.setattr(bulks, "BULK_FREED_MAX", BULK_FREED_MAX)
            patch.setattr(bulks, "BULK_OPEN_MS", BULK_OPEN_MS)
            _keep_order(patch)
            _note_fences(patch)
            # What the program itself calls a defect is one.
            patch.setattr(logging.Logger, "exception", _noted(loop))
            patch.setattr(worker_idleness._log, "error", lambda text, *words: loop.note(f"liveness: {text % words}"))
            patch.setattr(broker_idleness.IdleWatch, "look", _told(broker_idleness.IdleWatch.look, loop))
            yield
    finally:
        logging.disable(level)


def _noted(loop: VirtualLoop) -> Callable[..., None]:
    def exception(log: logging.Logger, text: str, *words: object) -> None:
        loop.note(f"defect: {text % words}", sys.exception())

    return exception


def _told(look: Callable[..., list[Any]], loop: VirtualLoop) -> Callable[..., list[Any]]:
    def looked(self: Any, *arguments: Any) -> list[Any]:
        idle = look(self, *arguments)
        for each in idle:
            loop.note(f"liveness: the broker sees an idle worker: {each}")
        return idle

    return looked


@contextmanager
def _own_garbage() -> Iterator[None]:
    """Nothing is collected but by `collect`, and then only what this world has made.

    A task that is collected tells its loop of an error that nobody asked for: when that is must not depend on how much
    this process had made before.
    """
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()


def collect() -> None:
    """What nobody holds any more says its last word now; of a task that failed, and that nobody asked, its error."""
    gc.collect()


def _no_machine(*asked: Any) -> Any:
    raise AssertionError("a simulated world has clocks and chance of its own")


def _keep_order(patch: pytest.MonkeyPatch) -> None:
    scope, slots = anyio_backend.CancelScope.__init__, runners.Runners.__init__

    def ordered_scope(self: Any, *arguments: Any, **options: Any) -> None:
        scope(self, *arguments, **options)
        self._child_scopes, self._tasks = Ordered(), Ordered()

    def ordered_runners(self: Any, *arguments: Any, **options: Any) -> None:
        slots(self, *arguments, **options)
        self._slots, self._lost = Ordered(), Ordered()

    patch.setattr(anyio_backend.CancelScope, "__init__", ordered_scope)
    patch.setattr(runners.Runners, "__init__", ordered_runners)


def _note_fences(patch: pytest.MonkeyPatch) -> None:
    """Tasks of the world write down which lease they run under; no task of a user needs to know."""
    real = calls.context_of

    def context_of(item: DeliverItem, *rest: Any) -> Any:
        context = real(item, *rest)
        context.fence = item.fence  # type: ignore[attr-defined]
        context.key = item.job  # type: ignore[attr-defined]
        return context

    patch.setattr(calls, "context_of", context_of)


async def _at_once(work: Callable[..., Any], *arguments: Any) -> Any:
    """What waits for the machine in a thread does not wait here."""
    return work(*arguments)


class _Reserve:
    """A file that is laid down on no disk."""

    def __init__(self, path: str, size: int) -> None:
        self.path = path
        self.size = size
        self.held = False

    def take(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False


class _NoWatchdog:
    """Nothing of a simulated world blocks its loop."""

    def __init__(self, run_of: Any, tell: Any = None, *, mono_ns: Any) -> None:
        """It is not needed."""

    def start(self) -> None:
        """Nothing is watched."""

    def stop(self) -> None:
        """Nothing was."""


def current_name() -> str:
    """The process that runs now, for a trace."""
    party = PARTY.get(None)
    return party.name if party is not None else "world"
