"""Two releases side by side, and older workers that declare nothing: who may take which job.

Jobs are of four tasks, of which each release knows some, runs some in processes, and cannot call one as the other
would; some need a label. A worker belongs to a release for as long as its process lives, mostly; some say another one
when they come back. In peace every worker takes everything.
"""

from __future__ import annotations

from random import Random
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from aioqueue.core.commands import EndRun, RunEnd
from aioqueue.core.effects import DeliverJob
from aioqueue.model.spec import Spec, pack_spec
from tests.simulator.checker import Checker
from tests.simulator.peers import Worker

# Some worlds from this seed on; those below are as they were without.
FITS_SEEDS: Final = 200_000
TASKS: Final = ("add", "mail", "crunch", "new")
LABEL: Final = "gpu"


def has_fits(seed: int) -> bool:
    return seed >= FITS_SEEDS and seed % 16 in (0, 4, 8, 12, 15)


def fitted(rng: Random, specs: list[tuple[Spec, bytes]]) -> list[tuple[Spec, bytes]]:
    """The same lines, with jobs of several fits in each."""
    found: list[tuple[Spec, bytes]] = []
    for spec, _ in specs:
        for task in rng.sample(TASKS, rng.randint(1, 3)):
            labels = (LABEL,) if rng.random() < 0.15 else ()
            fit = replace(spec, task=task, labels=labels)
            found.append((fit, pack_spec(fit)))
    return found


class Release(NamedTuple):
    """What a worker says of itself (`tasks` None declares nothing), and the tasks that it cannot call."""

    tasks: tuple[tuple[str, int], ...] | None = None
    labels: tuple[str, ...] = ()
    all_queues: bool = False
    misfits: frozenset[str] = frozenset()


def some_release(rng: Random) -> Release:
    labels = (LABEL, "big") if rng.random() < 0.3 else ()
    every = rng.random() < 0.4
    misfits = frozenset(rng.sample(TASKS, 1)) if rng.random() < 0.3 else frozenset()
    if rng.random() < 0.2:
        return Release(None, labels, every, misfits)
    known = rng.sample(TASKS, rng.randint(0, len(TASKS)))
    return Release(tuple((task, int(rng.random() < 0.4)) for task in known), labels, every, misfits)


class ReleasedWorker(Worker):
    """A worker of a release."""

    def __init__(self, name: str, rng: Random, checker: Checker, queues: tuple[str, ...], fits: Random) -> None:
        self._fits = fits
        self._release = some_release(fits)
        super().__init__(name, rng, checker, queues)

    def _new_life(self) -> None:
        super()._new_life()
        self._release = some_release(self._fits)

    def calm_down(self) -> None:
        """What it could not call is shut on its connection, so it begins another."""
        self.steady = True
        self.silent_until_ms = 0
        tasks = tuple((task, 0) for task in TASKS) if self._fits.random() < 0.5 else None
        self._release = Release(tasks, (LABEL,), self._fits.random() < 0.5)
        if self.connection is not None:
            self.connection.cut()

    def welcomed(self, fresh: bool) -> None:
        if not self.steady and self._fits.random() < 0.2:
            self._release = some_release(self._fits)
        super().welcomed(fresh)

    def _begin(self) -> None:
        release, connection = self._release, self.connection
        says = self.steady or release.tasks is not None or self._fits.random() < 0.9
        if connection is not None and release != Release() and says:
            connection.ask("declare", (release.tasks, release.labels, release.all_queues))

    def _queues_offered(self, queues: tuple[str, ...]) -> tuple[Any, ...]:
        if self._release.all_queues and (self.steady or self._fits.random() < 0.7):
            queues = ()
        return (queues, 0, self._fits.randint(0, 3))

    def _end(self, run: DeliverJob) -> EndRun:
        end = super()._end(run)
        if run.spec.task in self._release.misfits and run.fence not in self.stopping and self._fits.random() < 0.8:
            return EndRun(run.id, run.fence, RunEnd.MISFIT, b"")
        return end
