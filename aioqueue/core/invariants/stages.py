"""The promises that are about bulks: all of their jobs or none, and none before the bulk is committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from aioqueue.core import events as e
from aioqueue.core.invariants.life import Life
from aioqueue.core.staging import is_whole
from aioqueue.core.state import State
from aioqueue.limits import JOB_ID_BYTES
from aioqueue.model.ids import ids_in
from aioqueue.model.states import BulkPhase, JobState

_BLOCKED = JobState.BLOCKED


def check_bulks(state: State) -> list[str]:
    """What one state can break."""
    waiting = [job_id for bulk in state.bulks.values() for job_id in bulk.waiting()]
    held = [job_id for job_id in waiting if job_id in state.jobs and state.jobs[job_id].state is _BLOCKED]
    blocked = {job.id for job in state.jobs.values() if job.state is _BLOCKED}
    found: list[str] = []
    if sorted(held) != sorted(blocked):
        found.append(f"liveness: {len(blocked)} jobs are blocked, and bulks will free {len(held)}")
    closing = {bulk.id for bulk in state.bulks.values() if bulk.phase is not BulkPhase.OPEN}
    if closing != set(state.closing):
        found.append(f"liveness: {len(closing)} bulks are over, and {len(state.closing)} are worked off")
    found += [f"I20: bulk {bulk.id.hex()} holds nothing" for bulk in state.bulks.values() if not bulk.parts]
    found += [f"I17: parts of bulk {bulk.id.hex()} are missing" for bulk in state.bulks.values() if not is_whole(bulk)]
    return found


class Stages:
    """The bulks of a journal as `History` sees them: their jobs, how many of those were freed, which were committed."""

    def __init__(self, say: Callable[[str], None], lives: Mapping[bytes, Life]) -> None:
        self._say = say
        self._lives = lives
        self._jobs: dict[bytes, list[bytes]] = {}
        self._freed: dict[bytes, int] = {}
        self._committed: set[bytes] = set()

    def staged(self, event: e.BulkStaged) -> None:
        jobs = self._jobs.setdefault(event.bulk, [])
        for job_id in ids_in(event.ids):
            if not self._waits(job_id):
                self._say(f"I2: job {job_id.hex()} was staged, and does not wait")
            jobs.append(job_id)
        if event.bulk in self._committed:
            self._say(f"I1: bulk {event.bulk.hex()} was committed, and grows")

    def committed(self, event: e.BulkCommitted) -> None:
        if event.bulk not in self._jobs or event.bulk in self._committed:
            self._say(f"I2: bulk {event.bulk.hex()} was committed, and it is not there or was before")
        self._committed.add(event.bulk)

    def carried(self, event: e.BulkCarried) -> None:
        name, end = event.bulk.hex(), event.first + len(event.ids) // JOB_ID_BYTES
        jobs, freed = self._jobs.get(event.bulk, []), self._freed.get(event.bulk, 0)
        if (event.total, event.freed) != (len(jobs), freed) or jobs[event.first : end] != ids_in(event.ids):
            self._say(f"I2: of bulk {name} {event.total} jobs were carried, {event.freed} freed; it has {len(jobs)}")
        if end <= freed:
            self._say(f"I5: a part of bulk {name} was carried, and all of it was freed before")
        if (event.phase is BulkPhase.COMMITTED) is not (event.bulk in self._committed):
            self._say(f"I2: bulk {name} was carried as {event.phase.name}")

    def freed(self, event: e.BulkFreed, wall_ms: int) -> list[tuple[bytes, Life, JobState]]:
        """Judge what was freed; each job, and what it is now. Nothing where others were freed than had their turn."""
        name = event.bulk.hex()
        jobs, begin = self._jobs.get(event.bulk, []), self._freed.get(event.bulk, 0)
        end = begin + event.taken
        turn = [job_id for job_id in jobs[begin:end] if self._waits(job_id)]
        ready, scheduled, cancelled = ids_in(event.ready), ids_in(event.scheduled), ids_in(event.cancelled)
        if sorted([*ready, *scheduled, *cancelled]) != sorted(turn) or end > len(jobs):
            self._say(f"I2: of bulk {name} others were freed than those whose turn it was")
            return []
        if cancelled and event.bulk in self._committed:
            self._say(f"I2: bulk {name} was committed, and {len(cancelled)} of its jobs were dropped")
        if (ready or scheduled) and event.bulk not in self._committed:
            self._say(f"I2: bulk {name} was not committed, and jobs of it begin to live")
        for job_id in ready:
            if self._lives[job_id].due_ms > wall_ms:
                self._say(f"I9: job {job_id.hex()} was freed at {wall_ms}, before it was due")
        if [job_id for job_id in turn if job_id in ready] != ready:
            self._say(f"I10: of bulk {name} jobs were freed out of their order")
        self._freed[event.bulk] = end
        if end == len(jobs):
            for known in (self._jobs, self._freed):
                known.pop(event.bulk, None)
            self._committed.discard(event.bulk)
        after = ((ready, JobState.READY), (scheduled, JobState.SCHEDULED), (cancelled, JobState.CANCELLED))
        return [(job_id, self._lives[job_id], state) for ids, state in after for job_id in ids]

    def _waits(self, job_id: bytes) -> bool:
        life = self._lives.get(job_id)
        return life is not None and life.state is _BLOCKED
