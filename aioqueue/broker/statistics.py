"""What the broker does right now for one namespace, computed once a second for all who watch it, not at all for nobody.

Nothing of another namespace is in a view: no name, no error text and no count. What is told of the broker as a whole
(its position, how full it is) concerns everybody. Called by `watching`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable
from heapq import nlargest
from typing import Final

from msgspec import msgpack
from msgspec.structs import replace

from aioqueue.broker.beats import Beats
from aioqueue.broker.idleness import IdleWatch
from aioqueue.broker.room import Room
from aioqueue.clock import Now
from aioqueue.core.effects import ArchiveJob, ArchiveRun, Effect
from aioqueue.core.nouns import Job
from aioqueue.core.state import State
from aioqueue.limits import STATISTICS_BYTES_MAX
from aioqueue.model.bodies import unpack_failure
from aioqueue.model.records import EndedRun, FinishedJob, unpack_extra
from aioqueue.model.states import JobState
from aioqueue.model.views import (
    AdmissionStatistics,
    Block,
    QueueStatistics,
    RecentFailure,
    RunningJob,
    Statistics,
    WorkerStatistics,
)

# A screen shows no more; the totals count all.
RUNNING_SHOWN: Final = 50
FAILURES_SHOWN: Final = 50
WORKERS_SHOWN: Final = 1_000
QUEUES_SHOWN: Final = 1_000
QUEUES_A_WORKER_SHOWN: Final = 20
TEXT_SHOWN: Final = 500
# Anybody may invent a namespace; those that failed last are remembered, in some 3 MB at most.
FAILURES_NAMESPACES_MAX: Final = 100


class Statistician:
    """Remembers recent failures, by namespace, and draws the view of one when it is asked."""

    def __init__(
        self, state: State, beats: Beats, idleness: IdleWatch, now: Now, room: Room | None = None
    ) -> None:  # fmt: skip
        self._state = state
        self._idleness = idleness
        self._beats = beats
        self._room = room
        self._started_ms = now.wall_ms
        # The namespace that failed last stands last.
        self._failures: dict[str, deque[RecentFailure]] = {}
        # Also told of each attempt that failed, with what became of its job.
        self.on_failure: Callable[[EndedRun, Job | FinishedJob], None] | None = None

    def take(self, effects: Iterable[Effect]) -> None:
        """Remember what failed in a batch."""
        failed: dict[bytes, EndedRun] = {}
        for effect in effects:
            if isinstance(effect, ArchiveRun) and effect.run.outcome not in ("released", "cancelled", "expired"):
                failed[effect.run.id] = effect.run
            elif isinstance(effect, ArchiveJob) and effect.finished.id in failed:
                job = effect.finished
                run = failed.pop(job.id)
                dead = job.state is JobState.DEAD
                self._remember(run, job.namespace, job.task, job.queue, job.extra, dead)
                if self.on_failure is not None:
                    self.on_failure(run, job)
        for run in failed.values():
            living = self._state.jobs.get(run.id)
            if living is not None:
                spec = living.spec
                self._remember(run, spec.namespace, spec.task, spec.queue, living.extra, False)
                if self.on_failure is not None:
                    self.on_failure(run, living)

    def _remember(
        self, run: EndedRun, namespace: str, task: str, queue: str, extra: bytes | None, dead: bool
    ) -> None:  # fmt: skip
        kind, text = "WorkerCrashed", f"the process of {run.worker} ended without a word"
        if run.body:
            failure = unpack_failure(run.body)
            kind, text = failure.type, failure.text[:TEXT_SHOWN]
        failures = self._failures.pop(namespace, None)
        if failures is None:
            failures = deque(maxlen=FAILURES_SHOWN)
            if len(self._failures) >= FAILURES_NAMESPACES_MAX:
                del self._failures[next(iter(self._failures))]
        self._failures[namespace] = failures
        own_id = unpack_extra(extra).own_id
        failures.append(RecentFailure(run.id, task, queue, run.ended_ms, kind, text, dead, own_id))

    def _blocked_by(self, job: Job, now: Now) -> Block | None:
        blocked = self._beats.blocked(job.session, now.mono_ms)
        return blocked if blocked is not None and blocked.job == job.id else None

    def view(self, namespace: str, now: Now, position: int, log_bytes: int, steps_ns: Collection[int]) -> Statistics:
        """This namespace at this moment; `steps_ns` is what the engine's latest steps cost."""
        state = self._state
        sessions = [session for session in state.sessions.values() if session.namespace == namespace]
        workers = [
            session for session in sessions if session.link.slots or session.link.process_slots or session.leases
        ]
        running = sorted(
            (job for session in workers for job in list(session.leases.values())[:RUNNING_SHOWN]),
            key=lambda job: job.started_ms,
        )[:RUNNING_SHOWN]
        known = [(name, queue) for (owner, name), queue in state.queues.items() if owner == namespace]
        queues = known
        if len(known) > QUEUES_SHOWN:
            queues = nlargest(QUEUES_SHOWN, known, key=lambda entry: sum(entry[1].counts))
        view = Statistics(
            at_ms=now.wall_ms,
            started_ms=self._started_ms,
            position=position,
            sessions=len(sessions),
            queues=[
                QueueStatistics(
                    namespace, name, queue.counts[JobState.READY], queue.counts[JobState.SCHEDULED],
                    queue.counts[JobState.RUNNING] + queue.counts[JobState.STOPPING],
                    queue.submitted, queue.succeeded, queue.failed, queue.dead, queue.counts[JobState.STOPPING],
                )
                for name, queue in sorted(queues, key=lambda entry: entry[0])
            ],
            workers=[
                WorkerStatistics(
                    session.number, session.name, list(session.link.queues[:QUEUES_A_WORKER_SHOWN]),
                    session.link.slots, len(session.leases),
                    session.link.connected, now.mono_ms - session.link.heard_ms,
                    self._beats.lag_ms(session.number), self._beats.blocked(session.number, now.mono_ms),
                    max(0, len(session.link.queues) - QUEUES_A_WORKER_SHOWN), self._beats.deaf(session.number),
                    session.link.offer.every, session.link.process_slots,
                )
                for session in workers[:WORKERS_SHOWN]
            ],
            running=[
                RunningJob(
                    job.id, job.spec.task, job.spec.queue, state.sessions[job.session].name, job.runs,
                    max(0, now.wall_ms - job.started_ms), self._blocked_by(job, now), unpack_extra(job.extra).own_id,
                )
                for job in running
            ],
            failures=list(reversed(self._failures.get(namespace, ()))),
            idle_found=self._idleness.found,
            admission=self._admission(),
            queues_left_out=max(0, len(known) - QUEUES_SHOWN),
            workers_left_out=max(0, len(workers) - WORKERS_SHOWN),
            base=state.base,
            log_bytes=log_bytes,
            step_us_p99=_of_a_hundred(99, steps_ns) // 1_000,
        )  # fmt: skip
        return fitted(view)

    def _admission(self) -> AdmissionStatistics:
        state, room = self._state, self._room
        limits = state.admission.limits
        used = AdmissionStatistics(len(state.jobs), state.admission.size, limits.jobs_max, limits.bytes_max)
        if room is None:
            return used
        return replace(used, disk_free=room.free, disk_needed=room.needed, disk_low=room.low is not None)


def _of_a_hundred(place: int, values: Collection[int]) -> int:
    """So many of a hundred are no larger; 0 of none."""
    return sorted(values)[(len(values) - 1) * place // 100] if values else 0


def fitted(view: Statistics, bytes_max: int = STATISTICS_BYTES_MAX) -> Statistics:
    """The view with fewer queues and workers, if it would be too large for a frame with all of them."""
    while len(msgpack.encode(view)) > bytes_max and (view.queues or view.workers):
        queues, workers = view.queues, view.workers
        if len(msgpack.encode(queues)) > len(msgpack.encode(workers)):
            kept = len(queues) // 2
            left_out = view.queues_left_out + len(queues) - kept
            view = replace(view, queues=queues[:kept], queues_left_out=left_out)
        else:
            kept = len(workers) // 2
            left_out = view.workers_left_out + len(workers) - kept
            view = replace(view, workers=workers[:kept], workers_left_out=left_out)
    return view
