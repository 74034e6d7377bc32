"""The registry of tasks as connections see it: workers declare and describe, whoever submits or looks reads it.

Lists come in pages, bounded by their names and their bytes. What a worker says of a task is known by the digest of the
very bytes that it sent, never by one that it claims.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from aioqueue.broker.line import Query
from aioqueue.broker.peers.peer import Peer
from aioqueue.broker.peers.rows import Row
from aioqueue.broker.translate.refusals import refusal
from aioqueue.core import commands as c
from aioqueue.core.nouns import RegisteredTask
from aioqueue.errors import Unsupported
from aioqueue.limits import CONTROL_BYTES_MAX, CONTROL_NAMES_MAX
from aioqueue.model.names import check_name
from aioqueue.model.registry import digest_of
from aioqueue.model.rights import Right
from aioqueue.protocol import messages as m

log = logging.getLogger(__name__)


def declare_tasks(peer: Peer, message: m.Declare) -> None:
    """Let the registry know; the answer says which descriptions are wanted."""
    peer.up_ms = message.up_ms
    tasks = [(check_name("task", task.name), task.digest) for task in message.tasks]
    peer.post(c.DeclareTasks(peer.namespace, tasks, message.up_ms), _declared, message.request)


def _declared(peer: Peer, request: int, reply: Any) -> None:
    if isinstance(reply, Exception):
        peer.refuse(reply)
    else:
        peer.send(m.Declared(request, peer.services.engine.position, reply))


def describe_tasks(peer: Peer, message: m.DescribeTasks) -> None:
    tasks = [c.DescribedTask(check_name("task", task.name), digest_of(task.body), task.body) for task in message.tasks]
    peer.post(c.SetTasks(peer.namespace, tasks, peer.up_ms), _described, message.request)


def _described(peer: Peer, request: int, reply: Any) -> None:
    if isinstance(reply, Exception):
        peer.refuse(reply)
        return
    if reply:
        log.warning(
            "the registry of tasks is full: %d tasks that %s declares in namespace %s are not in it",
            reply, peer.connection.peer, peer.namespace,
        )  # fmt: skip
    peer.send(m.Declared(request, peer.services.engine.position))


def list_control(peer: Peer, message: m.ListControl) -> None:
    if message.kind != m.ControlKind.TASKS:
        told = Unsupported(what=f"a list of kind {message.kind}")
        peer.post(Query(lambda: refusal(message.request, told)), Peer.send_reply, None)
        return
    peer.post(Query(lambda: _page(peer, message)), _listed, message)


def _listed(peer: Peer, message: m.ListControl, reply: Any) -> None:
    if isinstance(reply, Exception):
        peer.send(refusal(message.request, reply))
    else:
        reply.position = peer.services.engine.position
        peer.send(reply)


def _page(peer: Peer, message: m.ListControl) -> m.ControlPage:
    known: Mapping[str, RegisteredTask] = peer.services.engine.partition.state.registry.of(peer.namespace)
    named = (name for name in message.names if name in known) if message.names else known
    names = sorted(name for name in named if name > message.after)
    page = m.ControlPage(message.request, total=len(known), tasks=[])
    room = CONTROL_BYTES_MAX
    for name in names[: max(1, min(message.limit, CONTROL_NAMES_MAX))]:
        task = known[name]
        body = b"" if message.names_only else task.body
        if page.tasks and len(body) > room:
            break
        room -= len(body)
        page.tasks.append(m.TaskEntry(name, task.digest, body, max(task.used_ms, task.seen_ms)))
    page.more = len(page.tasks) < len(names)
    return page


ROWS: Final = (
    Row(m.DescribeTasks, Right.WORK, describe_tasks),
    # Whoever submits by name must know what the name declares.
    Row(m.ListControl, Right.SUBMIT | Right.READ | Right.OPERATE, list_control),
)
