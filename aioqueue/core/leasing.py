"""Who gets the next job, and what is due by itself.

A job is leased only when its arguments are at hand. Where those of the next one are not, nothing is leased of its line
until they are: nobody overtakes it. The shell is told which they are, and reads them.
"""

from __future__ import annotations

from collections.abc import Container, Generator, Iterable, Iterator
from heapq import heapify, heappop, heapreplace, merge
from itertools import islice
from typing import Final

from aioqueue.clock import Now
from aioqueue.core import cohorts
from aioqueue.core import events as e
from aioqueue.core.cohorts import suspicious
from aioqueue.core.commands import Command, OpenSession
from aioqueue.core.endings import end_of_session
from aioqueue.core.families import children_for
from aioqueue.core.lanes import turn
from aioqueue.core.nouns import Job, Session, SlotClass, by_wait
from aioqueue.core.pools import Pool, Taker
from aioqueue.core.state import State
from aioqueue.core.terms import instead_of_lease
from aioqueue.limits import CRASHES_ALONE
from aioqueue.model.states import SessionEnd

# A lease, or what becomes of a job whose turn has come too late.
Leasing = e.SessionOpened | e.JobLeased | e.JobExpired | e.JobCancelled | e.JobParted | e.LaneJoined
# Jobs that are moved out of somebody's way in one step: some 3 ms, for a million of them may stand there.
PARTED_MAX: Final = 1_000
# Of what waits for a process so much is read ahead: few run at once, and a deep line of it must not fill the hand.
_AHEAD_PROCESS_JOBS: Final = 64
# Whoever watches is told no more.
_COUNTED_MAX: Final = 1_000_000


class Hand:
    """Which arguments the shell has at hand: `held` beside those of the batch in the making, and all without a `held`.
    `missing` are the jobs, by id, that stood at the head of a line and could not be leased for that.
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


class Parting:
    """How many jobs may still be moved out of somebody's way in this step; `more` says that others stand there."""

    __slots__ = ("left", "more")

    def __init__(self) -> None:
        self.left = PARTED_MAX
        self.more = False


def decide_leases(
    state: State, now: Now, hand: Hand | None = None, parting: Parting | None = None
) -> Iterator[Leasing]:
    """Leases for all free capacity, one at a time: the caller applies each before it asks for the next. Without a
    `hand` all arguments are there.

    Sessions that offer the same share what is ready: the one with the fewest leases comes first, among equals the one
    that has waited longest since it got one, and each takes at most its part, so that one large worker does not starve
    a small one. Where they do not take all that is ready, or have slots of two classes, jobs are dealt out one by one,
    and what stands in their way is moved (see `pools`). A session is journaled just before its first lease.

    Where suspects wait, jobs are given out one by one in the order of their turn, each to a session that may have it
    (see `cohorts`), and at last children to sessions that run their parents and get nothing else (see `families`). A
    suspect is never for ever behind the jobs that came after it: when it is the turn of one that must run alone and no
    session is empty, the session with the fewest leases gets nothing more of what stands behind it. So one session of a
    pool drains, and the others go on.
    """
    parting = Parting() if parting is None else parting
    again = True
    while again:
        again = False
        for pool in list(state.pools.values()):
            if state.suspects_ready and suspicious(state, pool.offer):
                for taker in pool.takers:
                    while (chosen := (yield from _choose(state, pool, taker, hand, parting))) is not None:
                        # Pools share queues: one that drained for this suspect may now go on, or have its parent.
                        again |= chosen[0].crashes > 0
                        yield from _lease(state, *chosen, now)
            else:
                for taker in pool.takers:
                    if taker.careful:
                        yield from _deal_out(state, taker, now, hand, parting)
                        continue
                    while taker.hungry and (head := taker.head()) is not None and _at_hand(head, hand):
                        yield from _share_out(state, taker, now, hand)
            if state.suspects_ready or state.suspects_running:
                for session in [state.sessions[number] for number in sorted(pool.members)]:
                    for child in children_for(state, session):
                        if _at_hand(child, hand):
                            # Another session may now be the one that drains.
                            again = True
                            yield from _lease(state, child, session, now)


def _at_hand(job: Job, hand: Hand | None) -> bool:
    return hand is None or hand.has(job)


def _share_out(state: State, taker: Taker, now: Now, hand: Hand | None) -> Iterator[Leasing]:
    hungry = list(taker.hungry.values())
    if len(hungry) > 1:
        hungry.sort(key=by_wait)
    ready = taker.ready(hungry)
    share = -(-ready // len(hungry))
    head = taker.head
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


def _deal_out(state: State, taker: Taker, now: Now, hand: Hand | None, parting: Parting) -> Iterator[Leasing]:
    """One job at a time, to the session with the fewest leases: what is ready cannot be counted, and whoever gets one
    may have no room for the next.
    """
    turns = [(*by_wait(session), place, session) for place, session in enumerate(taker.hungry.values())]
    heapify(turns)
    while turns:
        *_, place, session = turns[0]
        if session.number not in taker.hungry:
            heappop(turns)
            continue
        yield from _make_way(taker, parting)
        job = taker.head()
        if job is None or not taker.takes(job.spec.fit) or not _at_hand(job, hand):
            return
        yield from _lease(state, job, session, now)
        heapreplace(turns, (*by_wait(session), place, session))


def _make_way(taker: Taker, parting: Parting) -> Iterator[Leasing]:
    """Move what stands first and is not taken into lines of its own, as many jobs as may be."""
    if not taker.careful:
        return
    while (job := taker.head()) is not None and not taker.takes(job.spec.fit):
        if not parting.left:
            parting.more = True
            return
        parting.left -= 1
        yield e.JobParted(job.id)


def _choose(
    state: State, pool: Pool, taker: Taker, hand: Hand | None, parting: Parting
) -> Generator[Leasing, None, tuple[Job, Session] | None]:
    if not taker.hungry:
        return None
    yield from _make_way(taker, parting)
    chosen = cohorts.next_with_suspects(state, pool, taker)
    return chosen if chosen is not None and _at_hand(chosen[0], hand) else None


def _lease(state: State, job: Job, session: Session, now: Now) -> Iterator[Leasing]:
    if job.rare is not None and (instead := instead_of_lease(job, state, now)) is not None:
        yield instead
        return
    if not session.journaled:
        yield e.SessionOpened(session.number, session.secret_hash, session.namespace, session.name)
    yield e.JobLeased(job.id, session.number, state.next_fence, job.runs + 1)


def idle_beside_work(state: State, held: Container[bytes] | None = None) -> Iterator[tuple[Session, int]]:
    """Sessions with a free slot beside a ready job that they may have, each with how many jobs are ready there.

    After a step that left nothing to do there is none; a line whose first arguments are not `held` (None for all) waits
    for them. Judged by the sessions themselves, not by who is listed as hungry; for whoever watches, not for the hot
    path.
    """
    plain_heads: dict[Taker, Job | None] = {}
    for session in state.sessions.values():
        pool = session.link.pool
        if not session.link.connected or not isinstance(pool, Pool):
            continue
        children = [job for job in children_for(state, session) if held is None or job.id in held]
        if children:
            yield session, len(children)
            continue
        if not session.hungry:
            continue
        taker = pool.taker_of(session)
        if taker not in plain_heads:
            plain = taker.head()
            plain_heads[taker] = plain if plain is not None and taker.takes(plain.spec.fit) else None
        first = cohorts.heads(state, pool.offer, plain_heads[taker])
        lonely = next((job for job in first if job.crashes >= CRASHES_ALONE), None)
        if lonely is not None and cohorts.drained(state, pool, lonely) is session and session.leases:
            # What stands behind such a job waits for it on purpose.
            continue
        if held is not None and any(job.id not in held for job in first):
            continue
        if any(cohorts.may_have(session, job) for job in first):
            suspects = sum(len(queue.suspects) for queue in suspicious(state, pool.offer))
            yield session, taker.depth(_COUNTED_MAX) + suspects


def upcoming(state: State, jobs_max: int) -> Iterator[Job]:
    """The ready jobs that stand first in the lines of each pool, at most so many, in the order of their leases."""
    for pool in state.pools.values():
        for taker in pool.apart:
            most = _AHEAD_PROCESS_JOBS if taker.classes == (SlotClass.PROCESS,) else jobs_max
            lines = taker.upcoming(most)
            lines += [
                islice((job for job in queue.suspects.in_order() if taker.takes(job.spec.fit)), most)
                for queue in suspicious(state, pool.offer)
            ]
            yield from islice(merge(*lines, key=turn) if len(lines) != 1 else lines[0], most)


def decide_joined(state: State) -> list[e.LaneJoined]:
    """The queues that are one line again: what had a line of its own is gone, and everybody takes everything."""
    return [e.LaneJoined(*key) for key, queue in state.split.items() if queue.may_join]


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
