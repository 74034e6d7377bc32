"""What workers say: what they still hold, how much they can take, and how their runs ended."""

from __future__ import annotations

from typing import Any, Final

from aioqueue.broker.names import QUEUE_BYTES, TASK_BYTES
from aioqueue.broker.peers.control import declare_tasks
from aioqueue.broker.peers.peer import Peer
from aioqueue.broker.peers.rows import Row
from aioqueue.broker.translate.refusals import refusal
from aioqueue.broker.translate.runs import following, resumed, runs_ended, settled
from aioqueue.core import commands as c
from aioqueue.model.labels import check_labels
from aioqueue.model.names import check_name
from aioqueue.model.rights import Right
from aioqueue.protocol import messages as m


def resume(peer: Peer, message: m.Resume) -> None:
    held = [c.HeldRun(run.job, run.fence) for run in message.held]
    command = c.ResumeSession(peer.session, held, runs_ended(message.settles))
    peer.post(command, _resumed, message)


def _resumed(peer: Peer, message: m.Resume, reply: Any) -> None:
    if isinstance(reply, Exception):
        peer.refuse(reply)
        return
    peer.send(resumed(message.request, peer.services.engine.position, *reply))


def capacity(peer: Peer, message: m.Capacity) -> None:
    queues = tuple(dict.fromkeys(check_name("queue", name) for name in message.queues))
    queues = peer.services.seats.names.hold(peer.session, queues, QUEUE_BYTES)
    offered = c.OfferCapacity(peer.session, message.slots, queues, peer.link, message.process_slots)
    peer.post(offered, _capacity_taken, message)


def _capacity_taken(peer: Peer, message: m.Capacity, reply: Any) -> None:
    if isinstance(reply, Exception):
        peer.refuse(reply)


def declare(peer: Peer, message: m.Declare) -> None:
    tasks = tuple((check_name("task", task.name), int(task.slots)) for task in message.tasks)
    labels = check_labels(message.labels)
    tasks = peer.services.seats.names.hold(peer.session, tasks, TASK_BYTES)
    peer.post(c.DeclareOffer(peer.session, peer.link, tasks, labels, message.all_queues), _capacity_taken, message)
    # Answered for both: what the registry wants to know is the only answer that there is.
    declare_tasks(peer, message)


def settle(peer: Peer, message: m.Settle) -> None:
    peer.post(c.SettleRuns(peer.session, runs_ended(message.items)), _settled, message)


def _settled(peer: Peer, message: m.Settle, reply: Any) -> None:
    if isinstance(reply, Exception):
        peer.send(refusal(message.request, reply))
        return
    answer = settled(message.request, peer.services.engine.position, reply)
    if message.follows:
        answer.following = _following(peer, message.items)
    peer.send(answer, lazily=not (answer.answers or answer.following))


def _following(peer: Peer, items: list[m.SettleItem]) -> list[m.Following]:
    """What became of the jobs whose runs failed. One that the archive has by now is nothing to wait for."""
    living, overlay = peer.services.engine.partition.state.jobs, peer.services.overlay
    wall_ms = peer.services.ground.now().wall_ms
    failed = [item.job for item in items if item.end is m.RunEnd.FAILED]
    found = [living.get(job_id) or overlay.find(job_id) for job_id in failed]
    return [following(job, wall_ms) for job in found if job is not None]


ROWS: Final = (
    Row(m.Resume, Right.WORK, resume),
    Row(m.Declare, Right.WORK, declare),
    Row(m.Capacity, Right.WORK, capacity),
    Row(m.Settle, Right.WORK, settle),
)
