"""The judges, judged: each broken state and each broken journal must be told by the number of its promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aioqueue.core import events as e
from aioqueue.core.commands import SessionEnd
from aioqueue.core.invariants import History, check_state
from aioqueue.core.nouns import Job
from aioqueue.core.state import State
from aioqueue.model.records import Terms
from aioqueue.model.spec import RetryPolicy
from aioqueue.model.states import Cause, JobState
from tests.support.scene import NAMESPACE, Scene, job_id, new_job, submitted

READY, SCHEDULED, DEAD = JobState.READY, JobState.SCHEDULED, JobState.DEAD
DIED, GOODBYE = SessionEnd.DIED, SessionEnd.GOODBYE
CANCELLED, EXPIRED = JobState.CANCELLED, JobState.EXPIRED
WALL_MS = 10_000
CHILD: dict[str, Any] = {"deadline_in_ms": 9_000, "parent": job_id(1), "inherits": True}
# What stands behind it is of the next batch, a millisecond later.
LATER: Any = object()
NOT_BEGUN = e.JobExpired(job_id(1), Cause.EXPIRES)
OVERDUE = e.JobExpired(job_id(1), Cause.DEADLINE)


# --- one state ----------------------------------------------------------------------------------------------------


def full_state() -> State:
    """Job 1 runs at session 1, jobs 2 and 3 are ready, its child 4 waits; session 2 is full of nothing."""
    scene = Scene()
    scene.worker("w1", slots=1)
    scene.submit(new_job(1), new_job(2), new_job(3))
    scene.submit(new_job(4, delay_ms=100, **CHILD))
    scene.session("w2")
    assert check_state(scene.partition.state) == []
    return scene.partition.state


def living(state: State, number: int) -> Job:
    return state.jobs[job_id(number)]


def set_job(number: int, **changes: Any) -> Callable[[State], None]:
    def change(state: State) -> None:
        for name, value in changes.items():
            setattr(living(state, number), name, value)

    return change


DAMAGE: dict[str, tuple[str, Callable[[State], Any]]] = {
    "another id": ("I2", lambda state: state.jobs.update({b"other": living(state, 2)})),
    "a job that is over": ("I5", set_job(2, state=DEAD)),
    "a fence not given out": ("I4", set_job(1, fence=99)),
    "a place not given out": ("I4", set_job(2, seq=99)),
    "a ready job with a due time": ("I9", set_job(2, due_ms=5)),
    "a scheduled job without": ("I9", set_job(4, due_ms=0)),
    "too many failures": ("I8", set_job(2, failures=5)),
    "too many crashes": ("I8", set_job(2, crashes=3)),
    "a run without a fence": ("I4", set_job(1, fence=0)),
    "a holder that is not there": ("I3", set_job(1, session=9)),
    "a holder that does not know": ("I3", lambda state: state.sessions[1].leases.clear()),
    "a holder the journal does not know": ("I3", lambda state: setattr(state.sessions[1], "journaled", False)),
    "a ready job with a holder": ("I3", set_job(2, session=1)),
    "a lease of a ready job": ("I3", lambda state: state.sessions[2].leases.update({job_id(2): living(state, 2)})),
    "a wrong count": ("I2", lambda state: state.queues[NAMESPACE, "default"].counts.__setitem__(READY, 7)),
    "a suspect in no line": ("I10", set_job(2, crashes=1)),
    "a suspect that its session forgot": ("I8", set_job(1, crashes=1)),
    "a ready job in no lane": ("I10", lambda state: state.queues[NAMESPACE, "default"].lane.pop()),
    "a wrong depth": ("I10", lambda state: setattr(state.queues[NAMESPACE, "default"].lane, "depth", 1)),
    "a job twice in its lane": ("I10", lambda state: state.queues[NAMESPACE, "default"].lane.push(living(state, 2))),
    "no queue at all": ("I2", lambda state: state.queues.clear()),
    "a secret that leads nowhere": ("I2", lambda state: state.session_of.clear()),
    "a session under another number": ("I2", lambda state: setattr(state.sessions[2], "number", 5)),
    "a hungry session that is full": (
        "liveness", lambda state: next(iter(state.pools.values())).takers[0].hungry.update({1: state.sessions[1]}),
    ),
    "a free slot that is not fed": ("liveness", lambda state: setattr(state.sessions[1].link, "slots", 2)),
    "a hungry session that is over": (
        "liveness", lambda state: next(iter(state.pools.values())).takers[0].hungry.update({9: state.sessions[1]}),
    ),
    "a pool without members": ("I20", lambda state: next(iter(state.pools.values())).members.clear()),
    "a job that nothing wakes": ("liveness", lambda state: state.due.entries.clear()),
    "a due entry that is stale at the head": ("I9", lambda state: state.due.entries.insert(0, (1, 1, job_id(2)))),
    "due times out of order": ("I9", lambda state: state.due.entries.append((1, 1, job_id(2)))),
    "a deadline that nothing keeps": ("I36", lambda state: state.ends.entries.clear()),
    "a time of a job that is over": ("I36", lambda state: state.ends.entries.insert(0, (1, 1, b"over"))),
    "a child that its parent does not know": ("I37", lambda state: state.children.clear()),
    "a child that lives on": ("I37", lambda state: state.doomed.update({job_id(1): "its parent was cancelled"})),
    "a doomed parent without children": ("I37", lambda state: state.doomed.update({job_id(3): ""})),
}  # fmt: skip


@pytest.mark.parametrize(("promise", "damage"), DAMAGE.values(), ids=DAMAGE)
def test_a_broken_state_is_told_by_the_number_of_its_promise(promise: str, damage: Callable[[State], Any]) -> None:
    state = full_state()
    damage(state)
    assert promise in {violation.split(":")[0] for violation in check_state(state)}


def test_a_free_slot_beside_a_ready_job_is_only_fine_while_more_is_to_do() -> None:
    state = full_state()
    session = state.sessions[1]
    session.link.slots = 2
    session.link.full_at = session.link.hungry_below = 2
    state.pool(session.link.offer).feed(session)
    assert check_state(state, settled=False) == []
    assert {violation.split(":")[0] for violation in check_state(state)} == {"liveness"}


# --- a journal ----------------------------------------------------------------------------------------------------

OPEN = e.SessionOpened(1, b"secret", NAMESPACE, "w")


def lease(number: int, fence: int, *, session: int = 1, run: int = 1) -> e.JobLeased:
    return e.JobLeased(job_id(number), session, fence, run)


def success(number: int, fence: int) -> e.JobSucceeded:
    return e.JobSucceeded(job_id(number), fence, 0, 0, 0)


def failure(number: int, fence: int, state: JobState = SCHEDULED, pause_ms: int = 1_000) -> e.JobFailed:
    return e.JobFailed(job_id(number), fence, state, WALL_MS + pause_ms if state is SCHEDULED else 0, 0, 0, 0)


def crash(number: int, fence: int, crashes: int, state: JobState = READY) -> e.JobCrashed:
    return e.JobCrashed(job_id(number), fence, state, crashes)


def spec(priority: int = 5, attempts: int = 5) -> bytes:
    return new_job(1, priority=priority, retry=RetryPolicy(attempts)).packed_spec


def within(number: int, seq: int, **terms: Any) -> e.JobSubmitted:
    generation = terms.pop("generation", 0)
    return submitted(number, seq, terms=Terms(**terms), generation=generation)


def child(number: int, seq: int, *, inherits: bool = True, **terms: Any) -> e.JobSubmitted:
    """A child of job 1."""
    return within(number, seq, parent=job_id(1), inherits=inherits, **terms)


RUNS = (OPEN, submitted(1, 1), lease(1, 1))
CRASHED = (
    OPEN, submitted(1, 1), submitted(2, 2), lease(1, 1), lease(2, 2), crash(1, 1, 1), crash(2, 2, 1),
    e.SessionEnded(1, DIED), e.SessionOpened(2, b"second", NAMESPACE, "w"),
)  # fmt: skip
# Job 1 has one more life to lose, job 2 has two.
LAST = (
    *CRASHED, lease(1, 3, session=2, run=2), crash(1, 3, 2), e.SessionEnded(2, DIED),
    e.SessionOpened(3, b"third", NAMESPACE, "w"), submitted(3, 3),
)  # fmt: skip
KEPT: dict[str, tuple[e.Event, ...]] = {
    "a whole life": (*RUNS, failure(1, 1), e.JobCancelled(job_id(1)), submitted(1, 2, generation=1), lease(1, 2)),
    "given back in place": (*RUNS, submitted(2, 2), e.JobReleased(job_id(1), 1), lease(1, 2, run=2), lease(2, 3)),
    "a crash that was seen": (*RUNS, crash(1, 1, 1), e.SessionEnded(1, DIED)),
    "priorities": (OPEN, submitted(1, 1, spec=spec(1)), submitted(2, 2, spec=spec(9)), lease(2, 1), lease(1, 2)),
    "suspects one by one": (
        *CRASHED, submitted(3, 3), lease(1, 3, session=2, run=2), lease(3, 4, session=2), success(1, 3),
        lease(2, 5, session=2, run=2),
    ),
    "the last chance, alone": (
        *LAST, lease(1, 4, session=3, run=3), crash(1, 4, 3, DEAD), e.SessionEnded(3, DIED),
        e.SessionOpened(4, b"fourth", NAMESPACE, "w"), lease(2, 5, session=4, run=2), lease(3, 6, session=4),
    ),
    "the last chance waits for an empty session": (
        *LAST, e.SessionOpened(4, b"fourth", NAMESPACE, "w"), lease(1, 4, session=3, run=3),
        lease(2, 5, session=4, run=2), success(1, 4), lease(3, 6, session=4),
    ),
    "not begun in time": (OPEN, within(1, 1, expires_ms=WALL_MS), NOT_BEGUN),
    "a time to begin that is met": (OPEN, within(1, 1, expires_ms=WALL_MS + 1), lease(1, 1)),
    "a second run behind the time to begin": (
        *RUNS, within(2, 2, expires_ms=WALL_MS + 1), lease(2, 2), e.JobReleased(job_id(2), 2), lease(2, 3, run=2),
    ),
    "stopped by its deadline": (
        OPEN, within(1, 1, deadline_ms=WALL_MS + 1), lease(1, 1), LATER, e.JobStopping(job_id(1), 1, Cause.DEADLINE),
        failure(1, 1, EXPIRED), submitted(1, 2, generation=1),
    ),
    "a late success": (
        OPEN, within(1, 1, deadline_ms=WALL_MS + 1), lease(1, 1), LATER, e.JobStopping(job_id(1), 1, Cause.DEADLINE),
        success(1, 1),
    ),
    "a child told with its parent": (
        OPEN, submitted(1, 1), lease(1, 1), child(2, 2), lease(2, 2), e.JobStopping(job_id(1), 1),
        e.JobStopping(job_id(2), 2), crash(1, 1, 1, CANCELLED), crash(2, 2, 1, CANCELLED), e.SessionEnded(1, DIED),
    ),
    "a child of its own": (
        OPEN, submitted(1, 1), child(2, 2, inherits=False), e.JobCancelled(job_id(1)), lease(2, 1),
    ),
    "cancelled before its turn": (OPEN, submitted(1, 1), submitted(2, 2), e.JobCancelled(job_id(1)), lease(2, 1)),
}  # fmt: skip
BROKEN: dict[str, tuple[str, tuple[e.Event, ...]]] = {
    "two live leases": ("I3", (*RUNS, lease(1, 2, run=2))),
    "a lease to an unknown session": ("I3", (submitted(1, 1), lease(1, 1))),
    "a lease to a session that is over": ("I3", (OPEN, submitted(1, 1), e.SessionEnded(1, DIED), lease(1, 1))),
    "a session opened twice": ("I3", (OPEN, OPEN)),
    "an end without a session": ("I3", (e.SessionEnded(1, DIED),)),
    "a lease left behind": ("I3", (*RUNS, e.SessionEnded(1, GOODBYE))),
    "a fence that does not rise": ("I4", (*RUNS, submitted(2, 2), lease(2, 1))),
    "an end under a stale fence": ("I4", (*RUNS, e.JobReleased(job_id(1), 1), lease(1, 2, run=2), success(1, 1))),
    "an end of a job that does not run": ("I4", (submitted(1, 1), success(1, 0))),
    "a lease after the end": ("I5", (*RUNS, success(1, 1), lease(1, 2, run=2))),
    "a requeue of a success": ("I5", (*RUNS, success(1, 1), submitted(1, 2, generation=1))),
    "a requeue of the living": ("I5", (submitted(1, 1), submitted(1, 2, generation=1))),
    "a requeue of nothing": ("I5", (submitted(1, 1, generation=1),)),
    "a cancel of a running job": ("I6", (*RUNS, e.JobCancelled(job_id(1)))),
    "two ends": ("I7", (*RUNS, success(1, 1), success(1, 1))),
    "a cancel after the end": ("I7", (*RUNS, success(1, 1), e.JobCancelled(job_id(1)))),
    "a generation left out": ("I7", (submitted(1, 1), e.JobCancelled(job_id(1)), submitted(1, 2, generation=2))),
    "a run left out": ("I8", (OPEN, submitted(1, 1), lease(1, 1, run=2))),
    "failures above the cap": ("I8", (OPEN, submitted(1, 1, spec=spec(attempts=1)), lease(1, 1), failure(1, 1))),
    "crashes above the cap": ("I8", (*RUNS, crash(1, 1, 3), e.SessionEnded(1, DIED))),
    "death before the cap": ("I8", (*RUNS, crash(1, 1, 1, DEAD), e.SessionEnded(1, DIED))),
    "a crash that counts twice": ("I8", (*RUNS, crash(1, 1, 2), e.SessionEnded(1, DIED))),
    "a crash at a goodbye": ("I8", (*RUNS, crash(1, 1, 1), e.SessionEnded(1, GOODBYE))),
    "a crash of a session that goes on": ("I8", (*RUNS, crash(1, 1, 1))),
    "two suspects in one session": (
        "I8", (*CRASHED, lease(1, 3, session=2, run=2), lease(2, 4, session=2, run=2)),
    ),
    "the last chance beside another": (
        "I8", (*LAST, lease(2, 4, session=3, run=2), lease(1, 5, session=3, run=3)),
    ),
    "another beside the last chance": (
        "I8", (*LAST, lease(1, 4, session=3, run=3), lease(3, 5, session=3)),
    ),
    "woken early": ("I9", (submitted(1, 1, state=SCHEDULED, due_ms=WALL_MS + 1), e.JobDue(job_id(1), 2))),
    "leased while it waits": ("I9", (OPEN, submitted(1, 1, state=SCHEDULED, due_ms=WALL_MS + 1), lease(1, 1))),
    "waiting for the past": ("I9", (submitted(1, 1, state=SCHEDULED, due_ms=WALL_MS),)),
    "ready with a due time": ("I9", (submitted(1, 1, due_ms=WALL_MS + 1),)),
    "a pause too short": ("I9", (*RUNS, failure(1, 1, pause_ms=890))),
    "a pause too long": ("I9", (*RUNS, failure(1, 1, pause_ms=1_110))),
    "out of turn": ("I10", (OPEN, submitted(1, 1), submitted(2, 2), lease(2, 1))),
    "a place taken twice": ("I10", (submitted(1, 1), submitted(2, 1))),
    "a new place for what was given back": (
        "I10", (*RUNS, submitted(2, 2), e.JobReleased(job_id(1), 1), lease(2, 2), lease(1, 3, run=2)),
    ),
    "a suspect that might have been leased": (
        "I10", (*CRASHED, submitted(3, 3), lease(3, 3, session=2)),
    ),
    "an empty session passes by the last chance": (
        "I10", (*LAST, lease(3, 4, session=3)),
    ),
    "passed by a lower priority": (
        "I11", (OPEN, submitted(1, 1, spec=spec(4)), submitted(2, 2), lease(1, 1)),
    ),
    "accepted twice": ("I14", (submitted(1, 1), submitted(1, 2))),
    "accepted again after its end": ("I14", (submitted(1, 1), e.JobCancelled(job_id(1)), submitted(1, 2))),
    "begun too late": ("I36", (OPEN, within(1, 1, expires_ms=WALL_MS), lease(1, 1))),
    "begun behind the deadline": ("I36", (OPEN, within(1, 1, deadline_ms=WALL_MS), lease(1, 1))),
    "expired too early": ("I36", (within(1, 1, expires_ms=WALL_MS + 1), NOT_BEGUN)),
    "expired without terms": ("I36", (submitted(1, 1), OVERDUE)),
    "expired by another time": (
        "I36", (within(1, 1, expires_ms=WALL_MS), OVERDUE),
    ),
    "expired under a worker's hands": (
        "I36", (OPEN, within(1, 1, deadline_ms=WALL_MS + 1), lease(1, 1), LATER, OVERDUE),
    ),
    "not begun in time, and it was": (
        "I36",
        (
            OPEN, within(1, 1, expires_ms=WALL_MS + 1), lease(1, 1), e.JobReleased(job_id(1), 1), LATER,
            NOT_BEGUN,
        ),
    ),
    "stopped before the deadline": (
        "I36", (OPEN, within(1, 1, deadline_ms=WALL_MS + 1), lease(1, 1), e.JobStopping(job_id(1), 1, Cause.DEADLINE)),
    ),
    "a pause that leads behind the deadline": (
        "I36", (OPEN, within(1, 1, deadline_ms=WALL_MS + 1_000), lease(1, 1), failure(1, 1)),
    ),
    "cancelled by its deadline": (
        "I6",
        (
            OPEN, within(1, 1, deadline_ms=WALL_MS + 1), lease(1, 1), LATER,
            e.JobStopping(job_id(1), 1, Cause.DEADLINE), failure(1, 1, CANCELLED),
        ),
    ),
    "expired by a cancel": ("I6", (*RUNS, e.JobStopping(job_id(1), 1), failure(1, 1, EXPIRED))),
    "expired twice": (
        "I7", (within(1, 1, expires_ms=1), NOT_BEGUN, NOT_BEGUN),
    ),
    "requeued with its old times": (
        "I36", (within(1, 1, expires_ms=1), NOT_BEGUN, within(1, 2, expires_ms=1, generation=1)),
    ),
    "a child that outlives a cancel": (
        "I37", (OPEN, submitted(1, 1), child(2, 2), e.JobCancelled(job_id(1)), lease(2, 1)),
    ),
    "a child that outlives an expiry": (
        "I37",
        (OPEN, within(1, 1, expires_ms=1), child(2, 2), NOT_BEGUN, lease(2, 1)),
    ),
    "a child that outlives a stop": ("I37", (*RUNS, child(2, 2), e.JobStopping(job_id(1), 1), lease(2, 2))),
    "a child that comes too late": ("I37", (*RUNS, e.JobStopping(job_id(1), 1), child(2, 2), lease(2, 2))),
    "a child of nobody": ("I37", (OPEN, child(2, 1), lease(2, 1))),
    "a child with more time than its parent": (
        "I37",
        (OPEN, within(1, 1, deadline_ms=WALL_MS + 5), child(2, 2, deadline_ms=WALL_MS + 6), lease(1, 1), lease(2, 2)),
    ),
    "an end of nothing": ("I2", (success(1, 1),)),
    "a lease of nothing": ("I2", (OPEN, lease(1, 1))),
}  # fmt: skip


def observed(history: History, events: tuple[e.Event, ...]) -> list[str]:
    """What the events break; those behind `LATER` are of a batch that is."""
    at = events.index(LATER) if LATER in events else len(events)
    broken = history.observe(events[:at], WALL_MS, 1)
    return broken + (history.observe(events[at + 1 :], WALL_MS + 1, 2) if events[at:] else [])


@pytest.mark.parametrize("events", KEPT.values(), ids=KEPT)
def test_a_good_journal_breaks_no_promise(events: tuple[e.Event, ...]) -> None:
    assert observed(History(), events) == []


@pytest.mark.parametrize(("promise", "events"), BROKEN.values(), ids=BROKEN)
def test_a_broken_journal_is_told_by_the_number_of_its_promise(promise: str, events: tuple[e.Event, ...]) -> None:
    history = History()
    broken = observed(history, events)
    assert promise in {violation.split(":")[0] for violation in broken}
    assert history.violations == broken


def test_a_batch_that_comes_twice_is_noticed() -> None:
    history = History()
    history.observe([submitted(1, 1)], WALL_MS, 5)
    assert [violation.split(":")[0] for violation in history.observe([], WALL_MS, 5)] == ["I2"]


def test_a_life_remembers_its_leases_and_its_end() -> None:
    history = History()
    history.observe([*RUNS, success(1, 1)], WALL_MS, 1)
    life = history.lives[job_id(1)]
    assert (life.ends, life.fences, history.last_fence) == ({0: JobState.SUCCEEDED}, [1], 1)
