"""Submits: single, atomic, and bulks in parts."""

from __future__ import annotations

from typing import Any, Final

from aioqueue.broker.line import Query, nobody
from aioqueue.broker.peers.peer import Peer
from aioqueue.broker.peers.rows import Row
from aioqueue.broker.peers.waiting import await_end, wait
from aioqueue.broker.translate.refusals import refusal
from aioqueue.broker.translate.submits import submitted
from aioqueue.core import commands as c
from aioqueue.model.rights import Right
from aioqueue.protocol import messages as m

# As a plain number: an enum's own `&` costs more than the rest of the item.
_WANT_RESULT: Final = int(m.SubmitFlag.WANT_RESULT)
_RESEND: Final = int(m.SubmitFlag.RESEND)
_OWN_ID: Final = int(m.SubmitFlag.OWN_ID)


def submit(peer: Peer, message: m.Submit) -> None:
    peer.publishes = True
    submission = peer.services.translator.submission(message.items, peer.namespace)
    peer.post(c.SubmitJobs(submission.jobs), _submitted, (message, submission.refused))


def submit_atomic(peer: Peer, message: m.SubmitAtomic) -> None:
    peer.publishes = True
    submission = peer.services.translator.submission(message.items, peer.namespace)
    if submission.refused:
        _refuse_whole(peer, message.request, submission.refused[0])
        return
    peer.post(c.SubmitJobs(submission.jobs, atomic=True), _submitted, (message, []))


def _submitted(peer: Peer, question: tuple[m.Submit | m.SubmitAtomic, list[m.ItemRefused]], reply: Any) -> None:
    message, refused = question
    if isinstance(reply, Exception):
        peer.send(refusal(message.request, reply))
        return
    answer = submitted(message.request, peer.services.engine.position, reply, refused)
    outcomes = answer.outcomes
    wanted = [(index, item.job) for index, item in enumerate(message.items) if item.flags & _WANT_RESULT]
    # Who wants the results of all waits for those.
    peer.send(answer, lazily=not outcomes and len(wanted) == len(message.items))
    before: list[bytes] = []
    for index, job_id in wanted:
        if not outcomes or outcomes[index] is m.Outcome.ACCEPTED:
            await_end(peer, job_id)
        elif outcomes[index] is m.Outcome.EXISTS:
            before.append(job_id)
    if before:
        wait(peer, m.Wait(before))


def bulk_stage(peer: Peer, message: m.BulkStage) -> None:
    peer.publishes = True
    submission = peer.services.translator.submission(message.items, peer.namespace)
    if submission.refused:
        _refuse_whole(peer, message.request, submission.refused[0])
        return
    resent = any(item.flags & _RESEND for item in message.items)
    for item, job in zip(message.items, submission.jobs, strict=True):
        if not item.flags & _OWN_ID:
            # Parts are known by their numbers, and need no look at each job.
            job.known = c.Known.FRESH
    command = c.StageBulk(message.bulk, peer.namespace, message.part, submission.jobs, resent)
    peer.post(command, _bulk_went_on, message)


def bulk_commit(peer: Peer, message: m.BulkCommit) -> None:
    command = c.CommitBulk(message.bulk, peer.namespace, message.parts, message.first)
    peer.post(command, _bulk_went_on, message)


def bulk_drop(peer: Peer, message: m.BulkDrop) -> None:
    peer.post(c.DropBulk(message.bulk, peer.namespace), nobody, None)


def _bulk_went_on(peer: Peer, message: m.BulkStage | m.BulkCommit, reply: Any) -> None:
    position = peer.services.engine.position
    refused = isinstance(reply, Exception)
    peer.send(refusal(message.request, reply) if refused else m.Submitted(message.request, position))


def _refuse_whole(peer: Peer, request: int, first: m.ItemRefused) -> None:
    answer = m.Refusal(request, first.code, f"item {first.index}: {first.message}", first.fields)
    peer.post(Query(lambda: answer), Peer.send_reply, None)


ROWS: Final = (
    Row(m.Submit, Right.SUBMIT, submit),
    Row(m.SubmitAtomic, Right.SUBMIT, submit_atomic),
    Row(m.BulkStage, Right.SUBMIT, bulk_stage),
    Row(m.BulkCommit, Right.SUBMIT, bulk_commit),
    Row(m.BulkDrop, Right.SUBMIT, bulk_drop),
)
