"""Acts on jobs and on the broker: cancel, retry, watch, backup."""

from __future__ import annotations

from typing import Any, Final

from aioqueue.broker.peers.peer import Peer, trouble
from aioqueue.broker.peers.rows import Row
from aioqueue.broker.translate.refusals import refusal
from aioqueue.core import commands as c
from aioqueue.errors import BackupFailed, JournalError, Refused
from aioqueue.model.rights import Right
from aioqueue.protocol import messages as m


def cancel_job(peer: Peer, message: m.CancelJob) -> None:
    peer.post(c.CancelJob(message.job, peer.namespace, reason=message.reason), _cancelled, message)


def _cancelled(peer: Peer, message: m.CancelJob, reply: Any) -> None:
    position = peer.services.engine.position
    refused = isinstance(reply, Exception)
    peer.send(refusal(message.request, reply) if refused else m.Cancelled(message.request, reply, position))


def retry_job(peer: Peer, message: m.RetryJob) -> None:
    command = c.RequeueJob(message.job, peer.namespace, generation=message.generation)
    peer.post(command, _requeued, message)


def _requeued(peer: Peer, message: m.RetryJob, reply: Any) -> None:
    position = peer.services.engine.position
    refused = isinstance(reply, Exception)
    peer.send(refusal(message.request, reply) if refused else m.Requeued(message.request, reply, position))


def watch(peer: Peer, message: m.Watch) -> None:
    watching = peer.services.watching
    (watching.end if message.stop else watching.begin)(peer)


def read_backup(peer: Peer, message: m.ReadBackup) -> None:
    if message.part == 0:
        peer.end_backup()
        try:
            peer.backup = peer.services.backups.begin()
        except Refused as error:
            peer.send(refusal(message.request, error))
            return
    peer.services.spawn(_send_part, peer, message)


async def _send_part(peer: Peer, message: m.ReadBackup) -> None:
    """What leaves here is durable by itself: it needs no place in the engine's line."""
    try:
        if peer.backup is None:
            raise BackupFailed(reason="the connection was lost, or asked for nothing for long; begin it again")
        data, last = await peer.backup.part(message.part)
    except (Refused, JournalError) as error:
        peer.end_backup()
        peer.send(trouble(message.request, error))
        return
    peer.send(m.BackupPart(message.request, data, last))
    if last:
        peer.end_backup()


ROWS: Final = (
    Row(m.CancelJob, Right.SUBMIT | Right.OPERATE, cancel_job),
    Row(m.RetryJob, Right.OPERATE, retry_job),
    Row(m.Watch, Right.READ | Right.OPERATE, watch),
    Row(m.ReadBackup, Right.ADMIN, read_backup),
)
