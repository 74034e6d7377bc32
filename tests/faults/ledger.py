"""What clients and workers wrote down by themselves, held against each other and against the journal.

`judge` is pure: it is given what was written, and says what was broken. The logs are written outside the broker, so a
broker that loses something and says that all is well is found out.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec

from aioqueue.core import events as e
from aioqueue.core.invariants import History, check_state
from aioqueue.core.partition import Partition
from aioqueue.core.records import decode_events
from aioqueue.journal.batch import Batch, BatchKind
from aioqueue.journal.check import check_journal
from aioqueue.model.ids import id_text
from aioqueue.model.states import JobState


class Mark(NamedTuple):
    """One line of the log of all processes, in its order.

    `start`: a run began. `told`: a worker was told that the end of its run is recorded. `seen`: a client was told a
    result. `words` are what the line says besides the job.
    """

    what: str
    job: str
    words: tuple[str, ...]


class Evidence(msgspec.Struct):
    """What the journal says. Jobs are ids as text; `results` are bodies by (job, fence)."""

    problems: list[str] = []
    ends: dict[str, JobState] = {}
    fences: dict[str, list[int]] = {}
    results: dict[tuple[str, int], bytes] = {}
    living: dict[str, JobState] = {}
    epochs: int = 0


def read_marks(path: Path) -> list[Mark]:
    """The log of all processes."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Mark(what, job, tuple(words)) for what, job, *words in (line.split() for line in lines)]


async def read_journal(path: Path) -> Evidence:
    """Verify the bytes of a journal that nobody holds, judge its history, and replay it."""
    reader = _Reader(str(path))
    report = await check_journal(path, reader.take)
    return reader.evidence(report.problems)


class _Reader:
    def __init__(self, path: str) -> None:
        self._path = path
        self._history = History()
        self._partition = Partition()
        self._results: dict[tuple[str, int], bytes] = {}
        self._epochs = 0

    def take(self, batch: Batch) -> None:
        if batch.kind is not BatchKind.EVENTS:
            self._epochs += 1
            return
        events = decode_events(batch.events, self._path)
        self._history.observe(events, batch.wall_ms, batch.position)
        self._partition.replay(events, batch.bodies, batch.position, batch.wall_ms)
        for event in events:
            if isinstance(event, e.JobSucceeded):
                body = batch.bodies[event.body_offset : event.body_offset + event.body_bytes]
                self._results[id_text(event.id), event.fence] = body

    def evidence(self, problems: Iterable[str]) -> Evidence:
        state = self._partition.state
        lives = self._history.lives
        ends = {id_text(key): life.ends[life.generation] for key, life in lives.items() if life.generation in life.ends}
        living = {id_text(key): job.state for key, job in state.jobs.items()}
        by_history = {id_text(key): life.state for key, life in lives.items() if life.generation not in life.ends}
        found = [*problems, *self._history.violations, *check_state(state, settled=False)]
        if living != by_history:
            found.append(f"I17: {len(living)} jobs live after the replay, {len(by_history)} by the history")
        return Evidence(
            problems=found,
            ends=ends,
            fences={id_text(key): life.fences for key, life in lives.items()},
            results=self._results,
            living=living,
            epochs=self._epochs,
        )


class Clients(msgspec.Struct):
    """What clients wrote down: jobs whose submit was acknowledged, and every end that one of them was told.

    An end is the result's text, or `failed`.
    """

    acknowledged: set[str] = set()
    seen: list[tuple[str, str]] = []


def judge(clients: Clients, marks: list[Mark], evidence: Evidence, expected: dict[str, str]) -> list[str]:
    """What was broken; empty if every promise was kept. `expected` are the results that the jobs must have."""
    return [
        *evidence.problems,
        *_lost(clients, evidence),
        *_results(clients, evidence, expected),
        *_told(marks, evidence),
        *_runs(marks, evidence),
    ]


def _lost(clients: Clients, evidence: Evidence) -> list[str]:
    missing = sorted(clients.acknowledged - evidence.fences.keys())
    found = [f"I2: job {job} was acknowledged, and the journal does not know it" for job in missing]
    for job in sorted(clients.acknowledged & evidence.fences.keys() - evidence.ends.keys()):
        found.append(f"I2: job {job} was acknowledged, and is {evidence.living.get(job, 'nowhere')} for ever")
    return found


def _results(clients: Clients, evidence: Evidence, expected: dict[str, str]) -> list[str]:
    found: list[str] = []
    first: dict[str, str] = {}
    for job, result in clients.seen:
        if first.setdefault(job, result) != result:
            found.append(f"I7: job {job} was seen as {first[job]}, and later as {result}")
        end = evidence.ends.get(job)
        if (end is JobState.SUCCEEDED) != (result != "failed"):
            found.append(f"I7: job {job} was seen as {result}, the journal says {end.label if end else 'nothing'}")
        elif result not in ("failed", expected.get(job, result)):
            found.append(f"I7: job {job} gave {result}, and {expected[job]} is right")
    for job in sorted(clients.acknowledged - first.keys()):
        found.append(f"liveness: nobody was told the end of job {job}")
    return found


def _told(marks: list[Mark], evidence: Evidence) -> list[str]:
    """Every success that a worker was told of is in the journal, with a result."""
    found: list[str] = []
    for mark in marks:
        if mark.what == "told" and mark.words[1] == "SUCCEEDED":
            fence = int(mark.words[0])
            if (mark.job, fence) not in evidence.results:
                found.append(f"I1: the success of job {mark.job} with fence {fence} was acknowledged, and is lost")
    return found


def _runs(marks: list[Mark], evidence: Evidence) -> list[str]:
    """Nothing begins that was never leased, nor after its success is known; fences rise."""
    found: list[str] = []
    starts: dict[str, int] = {}
    over: dict[str, str] = {}
    for mark in marks:
        if mark.what == "start":
            starts[mark.job] = starts.get(mark.job, 0) + 1
            if mark.job in over:
                found.append(f"I5: job {mark.job} began again after its end was {over[mark.job]}")
        elif mark.what == "seen" or (mark.what == "told" and mark.words[1] == "SUCCEEDED"):
            over[mark.job] = mark.what
    for job, count in starts.items():
        leases = evidence.fences.get(job, [])
        if count > len(leases):
            found.append(f"I8: job {job} began {count} times with {len(leases)} leases")
    for job, fences in evidence.fences.items():
        if any(later <= earlier for earlier, later in pairwise(fences)):
            found.append(f"I4: the fences {fences} of job {job} do not rise")
    return found
