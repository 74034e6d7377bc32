"""Sessions, their connections, and who of them is hungry.

A session that holds leases cannot end: their ends stand before it.
"""

from __future__ import annotations

from typing import Final

from aioqueue.core import events as e
from aioqueue.core.apply.moment import Moment, Rows
from aioqueue.core.effects import CloseSession
from aioqueue.core.machine import IllegalChange
from aioqueue.core.named import Item, ItemKind
from aioqueue.core.nouns import Offer, Session, task_offer
from aioqueue.core.state import State

# More than any number of runs.
_ALWAYS: Final = 2**62


def session_opened(state: State, event: e.SessionOpened, body: bytes | None, at: Moment) -> None:
    session = _session(state, event)
    session.journaled = True
    session.home = at.position
    state.homes.settle(Item(ItemKind.SESSION, event.number), at.position)


def _session(state: State, opened: e.SessionOpened) -> Session:
    session = state.sessions.get(opened.number)
    if session is None:
        session = Session(opened.number, opened.secret_hash, opened.namespace, opened.name, 0)
        state.sessions[opened.number] = session
        state.session_of[opened.secret_hash] = opened.number
        state.next_session = max(state.next_session, opened.number + 1)
    return session


def session_ended(state: State, event: e.SessionEnded, body: bytes | None, at: Moment) -> None:
    _forget_session(state, event.number, at)


def session_forgotten(state: State, event: e.SessionForgotten, body: bytes | None, at: Moment) -> None:
    _forget_session(state, event.number, at)


def _forget_session(state: State, number: int, at: Moment) -> None:
    session = state.sessions.get(number)
    if session is None or session.leases:
        raise IllegalChange(f"session {number} cannot end: it is unknown, or holds leases")
    del state.sessions[number]
    _leave_pool(state, session)
    _open_all(state, session)
    # A replay that begun behind its opening may not know the secret, nor where its home was.
    state.session_of.pop(session.secret_hash, None)
    if session.home:
        state.homes.leave(Item(ItemKind.SESSION, number), session.home)
    at.effects.append(CloseSession(number))


def _open_all(state: State, session: Session) -> None:
    for task in session.link.offer.shut:
        _open_task(state, session, task)


def _leave_pool(state: State, session: Session) -> None:
    """The session offers this no more; a pool without members is forgotten, or they would pile up."""
    link = session.link
    if link.pool is not None:
        pool = state.pools[link.offer]
        pool.rest(session)
        pool.members.discard(session.number)
        if not pool.members:
            state.forget_pool(link.offer)
        state.refusals.stale = True
        link.pool, link.full_at, link.hungry_below = None, 0, 0


def _join_pool(state: State, session: Session) -> None:
    """Sessions that have slots are listed where those are that offer the same."""
    link = session.link
    offer = link.offer
    link.more_slots = link.process_slots if offer.mixed else 0
    if not link.slots and not link.more_slots:
        return
    pool = state.pool(offer)
    # One object for all that offer the same.
    link.offer, link.pool = pool.offer, pool
    pool.members.add(session.number)
    if offer.mixed:
        # Which class is full cannot be told from how many runs there are: it is looked at each time.
        link.full_at, link.hungry_below = 0, _ALWAYS
        session.in_processes = {key: job for key, job in session.leases.items() if offer.class_of(job.spec.fit)}
    else:
        link.full_at = link.hungry_below = link.slots
    if session.hungry:
        pool.feed(session)


def link_changed(state: State, event: e.LinkChanged, body: bytes | None, at: Moment) -> None:
    session = state.sessions[event.number] if event.opened is None else _session(state, event.opened)
    _leave_pool(state, session)
    link = session.link
    link.connected = event.connected
    link.number = event.link
    link.slots = event.slots
    link.process_slots = event.process_slots
    link.heard_ms = event.heard_ms
    link.since_fence = event.since_fence or link.since_fence
    if event.since_fence or event.opened is not None:
        link.throttled = False
        _open_all(state, session)
        link.offer = Offer(session.namespace)
        link.about = event.about
    link.offer = link.offer._replace(queues=event.queues)
    _join_pool(state, session)


def link_declared(state: State, event: e.LinkDeclared, body: bytes | None, at: Moment) -> None:
    session = state.sessions[event.number]
    link = session.link
    _leave_pool(state, session)
    # What was shut stays so: a resume that told of a misfit came before.
    tasks = None if event.tasks is None else task_offer(event.tasks)
    link.offer = link.offer._replace(tasks=tasks, labels=event.labels, all_queues=event.all_queues)
    _join_pool(state, session)


def shut_task(state: State, session: Session, task: str) -> None:
    """Nothing of this task goes to the session any more, while its connection lasts and others take it."""
    _leave_pool(state, session)
    offer = session.link.offer
    session.link.offer = offer._replace(shut=offer.shut | {task})
    state.refusals.close((session.namespace, task), session.number)
    _join_pool(state, session)


def task_reopened(state: State, event: e.TaskReopened, body: bytes | None, at: Moment) -> None:
    session = state.sessions[event.number]
    _leave_pool(state, session)
    _open_task(state, session, event.task)
    _join_pool(state, session)


def _open_task(state: State, session: Session, task: str) -> None:
    offer = session.link.offer
    session.link.offer = offer._replace(shut=offer.shut - {task})
    state.refusals.open((session.namespace, task), session.number)


def link_throttled(state: State, event: e.LinkThrottled, body: bytes | None, at: Moment) -> None:
    session = state.sessions[event.number]
    link = session.link
    link.throttled = event.throttled
    if link.pool is not None:
        if session.hungry:
            link.pool.feed(session)
        else:
            link.pool.rest(session)


def session_heard(state: State, event: e.SessionHeard, body: bytes | None, at: Moment) -> None:
    state.sessions[event.number].link.heard_ms = event.heard_ms


ROWS: Final[Rows] = {
    e.SessionOpened: session_opened,
    e.SessionEnded: session_ended,
    e.LinkChanged: link_changed,
    e.LinkDeclared: link_declared,
    e.LinkThrottled: link_throttled,
    e.TaskReopened: task_reopened,
    e.SessionHeard: session_heard,
    e.SessionForgotten: session_forgotten,
}
