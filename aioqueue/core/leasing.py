"""Who gets the next job, and what is due by itself.

A job is leased only when its arguments are at hand. Where those of the next one are not, nothing is leased of its line
until they are: nobody overtakes it. The shell is told which they are, and reads them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from functools import partial
from heapq import merge
from itertools import islice

from aioqueue.clock import Now
from aioqueue.core import events as e
from aioqueue.core.commands import Command, OpenSession
from aioqueue.core.endings import end_of_session
from aioqueue.core.families import children_for, first_of_family
from aioqueue.core.lanes import turn
from aioqueue.core.nouns import Job, Session
from aioqueue.core.queues import Pool, QueueState
from aioqueue.core.state import State
from aioqueue.core.terms import instead_of_lease
from aioqueue.limits import CRASHES_ALONE
from aioqueue.model.states import SessionEnd

# A lease, or what becomes of a job whose turn has come too late.
Leasing = e.SessionOpened | e.JobLeased | e.JobExpired | e.JobCancelled


class Hand:
    """Which arguments the shell has at hand: `held` beside those of the batch in the making. `missing` are the jobs,
    by id, that stood at the head of a line and could not be leased for that.
    """

    __slots__ = ("_held", "_new", "missing")

    def __init__(self, held: Container[bytes], new: Container[bytes]) -> None:
        self._held = held
        self._new = new
        self.missing: dict[bytes, Job] = {}

    def has(self, job: Job) -> bool:
        """Whether the job may be leased; if not, that is noted."""
        if job.id in self._new or job.id in self._held:
            return True
        self.missing[job.id] = job
        return False


def decide_leases(state: State, now: Now, hand: Hand | None = None) -> Iterator[Leasing]:
    """Leases for all free capacity, one at a time: the caller applies each before it asks for the next. Without a
    `hand` all arguments are there.

    Sessions that offer the same share what is ready: the one with the fewest leases comes first, and each takes at
    most its part, so that one large worker does not starve a small one. A session is journaled just before its first
    lease.

    Where suspects wait, jobs are given out one by one in the order of their turn, each to a session that may have it
    (the cohort rule, see `suspects`), and at last children to sessions that run their parents and get nothing else (see
    `families`). A suspect is never for ever behind the jobs that came after it: when it is the turn of one that must
    run alone and no session is empty, the session with the fewest leases gets nothing more of what stands behind it. So
    one session of a pool drains, and the others go on.
    """
    again = True
    while again:
        again = False
        for pool in list(state.pools.values()):
            if state.suspects_ready and any(queue.suspects for queue in pool.queues):
                while (chosen := _next_with_suspects(state, pool)) is not None and _at_hand(chosen[0], hand):
                    # Pools share queues: one that drained for this suspect may now go on, or have its parent.
                    again |= chosen[0].crashes > 0
                    yield from _lease(state, *chosen, now)
            else:
                while pool.hungry and (head := pool_head(pool)) is not None and _at_hand(head, hand):
                    yield from _share_out(state, pool, now, hand)
            if state.suspects_ready or state.suspects_running:
                for session in [state.sessions[number] for number in sorted(pool.members)]:
                    for child in children_for(state, session):
                        if _at_hand(child, hand):
                            # Another session may now be the one that drains.
                            again = True
                            yield from _lease(state, child, session, now)


def _at_hand(job: Job, hand: Hand | None) -> bool:
    return hand is None or hand.has(job)


def _share_out(state: State, pool: Pool, now: Now, hand: Hand | None) -> Iterator[Leasing]:
    hungry = list(pool.hungry.values())
    if len(hungry) > 1:
        hungry.sort(key=lambda session: len(session.leases))
    ready = sum(queue.lane.depth for queue in pool.queues)
    share = -(-ready // len(hungry))
    head = pool.queues[0].lane.head if len(pool.queues) == 1 else partial(pool_head, pool)
    for session in hungry:
        for _ in range(min(share, session.free)):
            job = head()
            if job is None or (hand is not None and not hand.has(job)):
                return
            if not session.journaled or job.rare is not None:
                yield from _lease(state, job, session, now)
            else:
                # What `_lease` does; nearly every lease comes through here.
                yield e.JobLeased(job.id, session.number, state.next_fence, job.runs + 1)


def _lease(state: State, job: Job, session: Session, now: Now) -> Iterator[Leasing]:
    if job.rare is not None and (instead := instead_of_lease(job, state, now)) is not None:
        yield instead
        return
    if not session.journaled:
        yield e.SessionOpened(session.number, session.secret_hash, session.namespace, session.name)
    yield e.JobLeased(job.id, session.number, state.next_fence, job.runs + 1)


def _next_with_suspects(state: State, pool: Pool) -> tuple[Job, Session] | None:
    """The first job, in the order of their turn, that a hungry session may have, and that session."""
    hungry = sorted(pool.hungry.values(), key=lambda session: len(session.leases))
    for job in _heads(state, pool.queues, pool_head(pool)):
        for session in hungry:
            if _may_have(session, job):
                return job, session
        if job.crashes >= CRASHES_ALONE:
            drained = _drained(state, pool)
            hungry = [session for session in hungry if session is not drained]
    return None


def _heads(state: State, queues: Sequence[QueueState], plain: Job | None) -> list[Job]:
    """Those whose turn it is, in that order: the `plain` one, and of each line of suspects the first, or the one of its
    family that goes before it.
    """
    lines = [line for queue in queues for line in (queue.suspects.among_others, queue.suspects.solitary)]
    heads = [line[0] for line in lines if line]
    if plain is not None:
        heads.append(plain)
    heads.sort(key=turn)
    return [first_of_family(state, queues, job) if job.crashes else job for job in heads] if state.families else heads


def _may_have(session: Session, job: Job) -> bool:
    if job.crashes >= CRASHES_ALONE:
        return not session.leases
    return not (job.crashes and session.suspects)


def _drained(state: State, pool: Pool) -> Session | None:
    """The session that a suspect waits for; None while one of the pool runs another alone and is the next to be free.

    Always the one with the fewest leases. Those only become fewer, for it gets none; where another has fewer yet, that
    one is nearer to being empty.
    """
    members = [state.sessions[number] for number in pool.members]
    if any(session.alone for session in members):
        return None
    return min(members, key=lambda session: (len(session.leases), session.number))


def idle_beside_work(state: State, held: Container[bytes] | None = None) -> Iterator[tuple[Session, int]]:
    """Sessions with a free slot beside a ready job that they may have, each with how many jobs are ready there.

    After a step that left nothing to do there is none; a line whose first arguments are not `held` (None for all) waits
    for them. Judged by the sessions themselves, not by who is listed as hungry; for whoever watches, not for the hot
    path.
    """
    for session in state.sessions.values():
        if not session.link.connected:
            continue
        children = [job for job in children_for(state, session) if held is None or job.id in held]
        if children:
            yield session, len(children)
            continue
        if not session.hungry:
            continue
        offer = session.link.offer
        pool = state.pools.get(offer)
        queues = pool.queues if pool is not None else [state.queues[key] for key in offer.keys if key in state.queues]
        heads = [head for queue in queues if (head := queue.lane.head()) is not None]
        first = [*heads, *_heads(state, queues, None)]
        lonely = any(job.crashes >= CRASHES_ALONE for job in first)
        if lonely and pool is not None and _drained(state, pool) is session and session.leases:
            # What stands behind such a job waits for it on purpose.
            continue
        if held is not None and any(job.id not in held for job in first):
            continue
        if any(_may_have(session, job) for job in first):
            yield session, sum(queue.lane.depth + len(queue.suspects) for queue in queues)


def pool_head(pool: Pool) -> Job | None:
    """The queues of a worker act as one: highest priority first, then lowest sequence."""
    queues = pool.queues
    if len(queues) == 1:
        return queues[0].lane.head()
    best: Job | None = None
    for queue in queues:
        head = queue.lane.head()
        if head is not None and (
            best is None
            or head.spec.priority > best.spec.priority
            or (head.spec.priority == best.spec.priority and head.seq < best.seq)
        ):
            best = head
    return best


def upcoming(state: State, jobs_max: int) -> Iterator[Job]:
    """The ready jobs that stand first in the lines of each pool, at most so many, in the order of their leases."""
    for pool in state.pools.values():
        lines: list[Iterator[Job]] = [queue.lane.upcoming(jobs_max) for queue in pool.queues]
        lines += [islice(queue.suspects.in_order(), jobs_max) for queue in pool.queues if queue.suspects]
        yield from islice(merge(*lines, key=turn) if len(lines) != 1 else lines[0], jobs_max)


def decide_due(state: State, now: Now) -> e.JobDue | None:
    """The next scheduled job whose time has come; the caller applies it before it asks again."""
    head = state.due.head()
    if head is not None and head[0] <= now.wall_ms:
        return e.JobDue(head[2], state.next_seq)
    return None


def silent_sessions(state: State, at_ms: int, session_ttl_ms: int) -> Iterator[Session]:
    """The sessions whose last decided word was a ttl old at this instant."""
    return (session for session in state.sessions.values() if session.link.heard_ms + session_ttl_ms <= at_ms)


def decide_expired(
    state: State, heard_up_to_ms: int, session_ttl_ms: int, waiting: Iterable[Command | object]
) -> Iterator[list[tuple[e.Event, bytes | None]]]:
    """The ends of all sessions of which nothing was heard for the ttl, one at a time.

    `waiting` commands were heard and not yet decided: whoever sent one is not silent. All that was said up to
    `heard_up_to_ms` is among them, or decided; what was said later may be neither.
    """
    silent = list(silent_sessions(state, heard_up_to_ms, session_ttl_ms))
    if silent:
        heard = {
            state.session_of.get(command.secret_hash) if isinstance(command, OpenSession)
            else getattr(command, "session", None)
            for command in waiting
        }  # fmt: skip
        silent = [session for session in silent if session.number not in heard]
    for session in silent:
        yield end_of_session(session, SessionEnd.EXPIRED)
