"""Waiting for the ends of jobs: those that live, those that just ended, and those that the archive has."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final

from aioqueue.broker.line import Query
from aioqueue.broker.peers.peer import Peer
from aioqueue.broker.peers.rows import Row
from aioqueue.broker.translate.runs import ended_item
from aioqueue.errors import JobNotFound, JournalError, ResultExpired
from aioqueue.model.ids import id_text
from aioqueue.model.records import FinishedJob
from aioqueue.model.rights import Right
from aioqueue.protocol import messages as m

log = logging.getLogger(__name__)


def wait(peer: Peer, message: m.Wait) -> None:
    peer.post(Query(lambda: _ends(peer, message.jobs), message.jobs), _waiting, message)


def await_end(peer: Peer, job_id: bytes) -> None:
    """Tell the peer when the job has ended."""
    # One that left before its answer could is told nothing, and would be held until the job ends.
    if not peer.gone.is_set():
        peer.services.waiters.add(job_id, peer)


def _ends(peer: Peer, jobs: Iterable[bytes]) -> tuple[list[bytes], list[m.EndedItem], list[bytes]]:
    """Of these jobs: those that live, the ends that are in sight, and those the archive must be asked for."""
    living, overlay = peer.services.engine.partition.state.jobs, peer.services.overlay
    alive: list[bytes] = []
    ended: list[m.EndedItem] = []
    missing: list[bytes] = []
    for job_id in jobs:
        job = living.get(job_id)
        if job is not None:
            if job.spec.namespace == peer.namespace:
                alive.append(job_id)
            else:
                ended.append(_unknown(job_id))
        elif (finished := overlay.find(job_id)) is not None:
            ended.append(_ended(peer, job_id, finished))
        else:
            missing.append(job_id)
    return alive, ended, missing


def _waiting(peer: Peer, message: m.Wait, reply: Any) -> None:
    if isinstance(reply, Exception):
        peer.refuse(reply)
        return
    alive, ended, missing = reply
    for job_id in alive:
        await_end(peer, job_id)
    if ended:
        _send_ends(peer, ended)
    if missing:
        peer.tell_later(missing)


async def look_for_ends(peer: Peer, jobs: list[bytes]) -> None:
    """Find the ends of these jobs and tell them; returns when they stand in the outbox, or wait for it again."""
    await _wait_for_archived(peer, jobs)
    # Until what was found stands in the outbox, or nobody would see that it is full.
    told = asyncio.get_running_loop().create_future()
    peer.post(Query(lambda: None), _answered, told)
    await told


def _answered(peer: Peer, told: asyncio.Future[None], reply: Any) -> None:
    if not told.done():
        told.set_result(None)


async def _wait_for_archived(peer: Peer, jobs: list[bytes]) -> None:
    services = peer.services
    try:
        found = await services.overlay.look_up(jobs)
    except JournalError as error:
        await _wait_for_unreadable(peer, jobs, error)
        return
    living = services.engine.partition.state.jobs
    again = [job_id for job_id in jobs if job_id not in found and job_id in living]
    ended = [_ended(peer, job_id, found.get(job_id)) for job_id in jobs if job_id not in again]
    # What was found may have ended in a batch that is not durable yet: the answer stands in line behind it.
    peer.post(Query(lambda: ended), _tell_ended, None)
    if again:
        wait(peer, m.Wait(again))


async def _wait_for_unreadable(peer: Peer, jobs: list[bytes], error: JournalError) -> None:
    """A row of one of these cannot be read: that one is told so, and the others are looked at alone."""
    if len(jobs) > 1:
        for job_id in jobs:
            await _wait_for_archived(peer, [job_id])
        return
    log.error("job %s: %s", id_text(jobs[0]), error)
    ended = [m.EndedItem(jobs[0], 0, b"", error.code)]
    peer.post(Query(lambda: ended), _tell_ended, None)


def _tell_ended(peer: Peer, question: None, reply: Any) -> None:
    if isinstance(reply, Exception):
        peer.refuse(reply)
    elif reply:
        _send_ends(peer, reply)


def _send_ends(peer: Peer, ended: list[m.EndedItem]) -> None:
    peer.services.outlet.send_ends(peer, ended, peer.services.engine.position)


def _ended(peer: Peer, job_id: bytes, found: Any) -> m.EndedItem:
    if found is None:
        return _unknown(job_id)
    if not isinstance(found, FinishedJob):
        return m.EndedItem(job_id, 0, b"", ResultExpired.code)
    return ended_item(found) if found.namespace == peer.namespace else _unknown(job_id)


def _unknown(job_id: bytes) -> m.EndedItem:
    return m.EndedItem(job_id, 0, b"", JobNotFound.code)


ROWS: Final = (Row(m.Wait, Right.SUBMIT | Right.READ | Right.OPERATE, wait),)
