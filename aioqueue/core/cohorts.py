"""Which suspect goes to which session: the cohort rule (see `lanes.suspects`), job by job. Called by `leasing`."""

from __future__ import annotations

from collections.abc import Iterable

from aioqueue.core.families import first_of_family
from aioqueue.core.lanes import turn
from aioqueue.core.nouns import Job, Offer, Session, by_wait
from aioqueue.core.pools import Pool, Taker
from aioqueue.core.queues import QueueState
from aioqueue.core.state import State
from aioqueue.limits import CRASHES_ALONE


def suspicious(state: State, offer: Offer) -> list[QueueState]:
    """The queues of the offer in which suspects are ready."""
    return [queue for key, queue in state.suspicious.items() if offer.serves(key)] if state.suspects_ready else []


def next_with_suspects(state: State, pool: Pool, taker: Taker) -> tuple[Job, Session] | None:
    """The first job, in the order of their turn, that a hungry session may have, and that session."""
    plain = taker.head()
    if plain is not None and not taker.takes(plain.spec.fit):
        # It is still in the way of those that do.
        return None
    hungry = sorted(taker.hungry.values(), key=by_wait)
    for job in heads(state, pool.offer, plain):
        for session in hungry:
            if may_have(session, job):
                return job, session
        if job.crashes >= CRASHES_ALONE:
            draining = drained(state, pool, job)
            hungry = [session for session in hungry if session is not draining]
    return None


def heads(state: State, offer: Offer, plain: Job | None) -> list[Job]:
    """Those whose turn it is, in that order: the `plain` one, and of each line of suspects the first that the offer
    takes, or the one of its family that goes before it.
    """
    found: list[Job] = []
    for queue in suspicious(state, offer):
        for line in (queue.suspects.among_others, queue.suspects.solitary):
            found += _first_of_each_class(line, offer)
    if plain is not None:
        found.append(plain)
    found.sort(key=turn)
    return [first_of_family(state, offer, job) if job.crashes else job for job in found] if state.families else found


def _first_of_each_class(line: Iterable[Job], offer: Offer) -> Iterable[Job]:
    firsts: dict[int, Job] = {}
    for job in line:
        if offer.takes(job.spec.fit):
            firsts.setdefault(offer.class_of(job.spec.fit), job)
            if not offer.mixed:
                break
    return firsts.values()


def may_have(session: Session, job: Job) -> bool:
    """Whether the session may have it beside what it holds."""
    if job.crashes >= CRASHES_ALONE:
        return not session.leases and session.has_room(job.spec.fit)
    return not (job.crashes and session.suspects) and session.has_room(job.spec.fit)


def drained(state: State, pool: Pool, job: Job) -> Session | None:
    """The session that a suspect waits for; None while one of the pool runs another alone and is the next to be free.

    Always the one with the fewest leases. Those only become fewer, for it gets none; where another has fewer yet, that
    one is nearer to being empty.
    """
    members = [state.sessions[number] for number in pool.members]
    if any(session.alone for session in members):
        return None
    able = [session for session in members if session.would_run(job.spec.fit)]
    return min(able, key=lambda session: (len(session.leases), session.number), default=None)
