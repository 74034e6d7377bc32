"""The promises that can be judged on one state: `check_state`. The rest of them is in `history`."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from aioqueue.core import homes
from aioqueue.core.invariants.bounds import check_heap, check_terms
from aioqueue.core.invariants.fits import check_idle, check_lines, rooms_of
from aioqueue.core.invariants.settings import check_items
from aioqueue.core.invariants.stages import check_bulks
from aioqueue.core.leasing import idle_beside_work
from aioqueue.core.nouns import Job
from aioqueue.core.state import State
from aioqueue.limits import CRASHES_ALONE, CRASHES_MAX
from aioqueue.model.states import TERMINAL, JobState

_STATES: Final = max(JobState) + 1
_LEASED: Final = frozenset({JobState.RUNNING, JobState.STOPPING})


def check_state(state: State, *, settled: bool = True, held: Container[bytes] | None = None) -> list[str]:
    """Every promise that one state can break; empty if it keeps them all.

    `settled` says that the step that led here left nothing to do (`more` was False), so that no free capacity may
    stand beside a ready job. `held` are the jobs whose arguments are at hand (None for all); a line waits for those of
    its head.
    """
    found = [f"I2: job {key.hex()} is kept under another id" for key, job in state.jobs.items() if job.id != key]
    for job in state.jobs.values():
        found += _check_job(state, job)
    found += _check_queues(state)
    size = sum(job.body_bytes + len(job.extra or b"") for job in state.jobs.values())
    if state.admission.size != size:
        found.append(f"I20: the living jobs were counted as {state.admission.size} bytes, they are {size}")
    found += _check_sessions(state)
    found += _check_due(state)
    found += _check_homes(state)
    found += check_lines(state)
    found += check_terms(state, settled=settled)
    found += check_bulks(state)
    if settled:
        found += [
            f"liveness: session {session.number} could have one of {ready} ready jobs"
            for session, ready in idle_beside_work(state, held)
        ]
        found += check_idle(state, held)
    return found


class _Name:
    """How a violation calls a job; made only where there is one."""

    __slots__ = ("_job",)

    def __init__(self, job: Job) -> None:
        self._job = job

    def __str__(self) -> str:
        return f"job {self._job.id.hex()} ({self._job.state.label})"


def _check_job(state: State, job: Job) -> list[str]:
    found: list[str] = []
    name = _Name(job)
    if job.state in TERMINAL:
        found.append(f"I5: {name} is over and still lives")
    if job.fence >= state.next_fence or job.seq >= state.next_seq:
        found.append(f"I4: {name} has fence {job.fence} and place {job.seq} that were not given out yet")
    if (job.state is JobState.SCHEDULED) != (job.due_ms > 0) and job.state is not JobState.BLOCKED:
        found.append(f"I9: {name} has the due time {job.due_ms}")
    if job.failures >= job.spec.retry.attempts:
        found.append(f"I8: {name} has {job.failures} failures, its cap is {job.spec.retry.attempts}")
    if job.crashes >= CRASHES_MAX or job.failures > job.runs:
        found.append(f"I8: {name} has {job.crashes} crashes and {job.failures} failures in {job.runs} runs")
    holder = state.sessions.get(job.session)
    if job.state in _LEASED:
        if holder is None or holder.leases.get(job.id) is not job:
            found.append(f"I3: {name} is held by session {job.session}, which does not know it")
        elif not holder.journaled:
            found.append(f"I3: {name} is held by session {job.session}, which the journal does not know")
        if not job.fence:
            found.append(f"I4: {name} runs without a fence")
    elif job.session:
        found.append(f"I3: {name} names session {job.session} and does not run")
    return found


def _check_queues(state: State) -> list[str]:
    found: list[str] = []
    counts: dict[tuple[str, str], list[int]] = {}
    ready: dict[tuple[str, str], list[Job]] = {}
    for job in state.jobs.values():
        key = (job.spec.namespace, job.spec.queue)
        counts.setdefault(key, [0] * _STATES)[job.state] += 1
        if job.state is JobState.READY:
            ready.setdefault(key, []).append(job)
    for key, queue in state.queues.items():
        if queue.counts != counts.pop(key, [0] * _STATES):
            found.append(f"I2: the counts of {key} are {queue.counts}")
        due = sorted(ready.pop(key, []), key=lambda job: (-job.spec.priority, job.seq))
        suspects = [job for job in due if job.crashes]
        due = [job for job in due if not job.crashes]
        if list(queue.suspects.in_order()) != suspects:
            found.append(f"I10: {len(queue.suspects)} suspects of {key} stand in line, {len(suspects)} are ready")
        lane = list(queue.lane.in_order())
        if [job.id for job in lane] != [job.id for job in due]:
            found.append(f"I10: the lane of {key} holds {len(lane)} jobs out of order, {len(due)} are ready")
        if queue.lane.depth != len(due) or queue.lane.head() is not (due[0] if due else None):
            found.append(f"I10: the lane of {key} has depth {queue.lane.depth} and another head, {len(due)} are ready")
        pools = sum(key in offer.keys for offer in state.pools)
        if queue.pools != pools or (key in state.idle_queues) == bool(pools or any(queue.counts)):
            found.append(f"I20: {key} has {pools} pools, {queue.pools} by its count, and is kept or forgotten wrongly")
    found += [f"I20: {key} is idle, and no queue" for key in state.idle_queues if key not in state.queues]
    suspects_ready = sum(len(queue.suspects) for queue in state.queues.values())
    suspects_running = sum(len(session.suspects) for session in state.sessions.values())
    if (state.suspects_ready, state.suspects_running) != (suspects_ready, suspects_running):
        found.append(
            f"I10: {state.suspects_ready} and {state.suspects_running} suspects were counted, "
            f"{suspects_ready} are ready and {suspects_running} run"
        )
    found += [f"I2: jobs of {key} stand in no queue" for key in counts]
    return found


def _check_sessions(state: State) -> list[str]:
    found: list[str] = []
    if {session.secret_hash: number for number, session in state.sessions.items()} != state.session_of:
        found.append("I2: the sessions are not those that their secrets lead to")
    hungry = {number for pool in state.pools.values() for taker in pool.takers for number in taker.hungry}
    for number, session in state.sessions.items():
        if number != session.number or number >= state.next_session:
            found.append(f"I2: session {session.number} is kept as {number}, the next is {state.next_session}")
        for job_id, job in session.leases.items():
            if state.jobs.get(job_id) is not job or job.state not in _LEASED or job.session != number:
                found.append(f"I3: session {number} holds job {job_id.hex()}, which does not run there")
        suspects = [job for job in session.leases.values() if job.crashes]
        if {job.id for job in suspects} != {job.id for job in session.suspects}:
            found.append(f"I8: session {number} holds {len(suspects)} suspects, and knows {len(session.suspects)}")
        alone = [job.fence for job in suspects if job.crashes >= CRASHES_ALONE]
        # Who they all are is judged where they are leased (see `History`).
        strangers = [job for job in session.leases.values() if not (job.terms and job.terms.parent)]
        if alone and any(job.fence > min(alone) for job in strangers):
            found.append(f"I8: session {number} was given others beside one that runs alone")
        pool = state.pools.get(session.link.offer)
        rooms = rooms_of(session)
        fed = [] if pool is None else [taker.classes for taker in pool.takers if taker.hungry.get(number) is session]
        due = (
            [rooms if session.link.offer.mixed else None] if rooms and not session.link.throttled and not alone else []
        )
        if fed != due:
            found.append(f"liveness: session {number} has free slots of {due}, and is fed as having them of {fed}")
        slots = session.link.slots + (session.link.process_slots if session.link.offer.mixed else 0)
        if (slots > 0) != (pool is not None and number in pool.members and session.link.pool is pool):
            found.append(f"I20: session {number} with {session.link.slots} slots and its pool do not know each other")
        hungry.discard(number)
    found += [f"liveness: session {number} is over and would be fed" for number in hungry]
    found += [f"I20: the pool of {offer} has no members" for offer, pool in state.pools.items() if not pool.members]
    return found


def _check_due(state: State) -> list[str]:
    entries = {(due_ms, job_id) for due_ms, _, job_id in state.due}
    scheduled = [job for job in state.jobs.values() if job.state is JobState.SCHEDULED]
    found = [
        f"liveness: nothing will wake job {job.id.hex()}" for job in scheduled if (job.due_ms, job.id) not in entries
    ]
    if (entry := state.due.head()) is not None:
        head = state.jobs.get(entry[2])
        if head is None or head.state is not JobState.SCHEDULED or head.due_ms != entry[0]:
            found.append("I9: the next due job is none that waits")
    return found + check_heap(state.due, "I9")


def _check_homes(state: State) -> list[str]:
    """What recovery will need lies at the base or behind it, and is counted where it lies."""
    lie = [job.home for job in state.jobs.values()]
    counts: dict[int, int] = {}
    for home in lie:
        counts[homes.place_of(home)] = counts.get(homes.place_of(home), 0) + 1
    found: list[str] = []
    if counts != state.homes.counted() or list(state.homes.counted()) != sorted(counts):
        found.append(f"I17: jobs are counted at {state.homes.counted()}, they are at {counts}")
    if lie and min(lie) < state.base:
        found.append(f"I17: the base is {state.base}, and a job has its home at {min(lie)}")
    return found + check_items(state)
