"""Releases come and go while everything else happens: processes declare their tasks, again and again, or fall silent.

A process started at one instant and says one version of each of its tasks for as long as it lives, whatever the broker
has heard since. It is the part of a worker that the registry sees, without connections: what is said is lost with the
broker that had it in line.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from types import ModuleType
from typing import Any, Final, NamedTuple

from aioqueue.clock import ManualClock
from aioqueue.core import commands as c
from aioqueue.core import partition
from aioqueue.core.decide import registry as deciding
from aioqueue.core.invariants import settings
from aioqueue.core.nouns import task
from tests.simulator.broker import Broker
from tests.simulator.drafts import NAMESPACE

# Tasks are declared in every fourth world from this seed on; those below are as they were without.
DECLARING_SEEDS: Final = 100_000

# The worlds are small and short.
_TASKS_MAX: Final = 4
_UNUSED_MS: Final = 4_000
_GRACE_MS: Final = 500
_SMALL: Final[tuple[tuple[ModuleType, str, int], ...]] = (
    (task, "TASK_UNUSED_MS", _UNUSED_MS),
    (deciding, "TASK_UNUSED_MS", _UNUSED_MS),
    (deciding, "TASKS_MAX", _TASKS_MAX),
    (settings, "TASK_UNUSED_MS", _UNUSED_MS),
    (settings, "TASKS_MAX", _TASKS_MAX),
    (partition, "LAPSE_GRACE_MS", _GRACE_MS),
)


def is_declaring(seed: int) -> bool:
    return seed >= DECLARING_SEEDS and seed % 4 == 1


@contextmanager
def small_registry() -> Iterator[None]:
    """Few tasks, which lapse soon."""
    usual: list[Any] = [getattr(module, name) for module, name, _ in _SMALL]
    for module, name, value in _SMALL:
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip(_SMALL, usual, strict=True):
            setattr(module, name, value)


class Process(NamedTuple):
    """One process of a release: when it started, and which version it has of each of its tasks."""

    started_ms: int
    versions: dict[str, int]


class Releases:
    """All processes of a world; they outlive its brokers."""

    def __init__(self, rng: Random, clock: ManualClock) -> None:
        self._rng = rng
        self._clock = clock
        self._processes: list[Process] = []

    def act(self, broker: Broker) -> None:
        """A process begins, ends, or says what it knows."""
        rng = self._rng
        what = rng.random()
        if what < 0.25 or not self._processes:
            names = rng.sample(("a", "b", "c", "d", "e", "f"), rng.randint(1, 3))
            self._processes.append(Process(self._clock.mono_ms, {name: rng.randint(1, 3) for name in names}))
        elif what < 0.35:
            self._processes.pop(rng.randrange(len(self._processes)))
        else:
            self._declare(broker, rng.choice(self._processes))

    def _declare(self, broker: Broker, process: Process) -> None:
        up_ms = self._clock.mono_ms - process.started_ms
        tasks = [(name, b"%d" % version) for name, version in process.versions.items()]
        broker.post(c.DeclareTasks(NAMESPACE, tasks, up_ms))
        if self._rng.random() < 0.7:
            described = [
                c.DescribedTask(name, digest, b"%s in version %s" % (name.encode(), digest)) for name, digest in tasks
            ]
            broker.post(c.SetTasks(NAMESPACE, described, up_ms))
