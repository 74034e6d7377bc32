"""From a task and its packed arguments to the item that submits them: which id it has, and what travels with it.

Every id and every key that is hashed from what a caller says is made here, from bytes that nobody has changed yet. It
needs no connection, so that whoever writes jobs down to be sent later makes the same items. Called by `Queue`.
"""

from __future__ import annotations

from typing import Any, Final

from aioqueue.client.children import Family
from aioqueue.client.ids import JobIds
from aioqueue.client.named import NamedTask
from aioqueue.client.task import Callee, Task
from aioqueue.model.ids import own_id
from aioqueue.protocol.messages import SubmitFlag, SubmitItem

AnyTask = Task[..., Any] | NamedTask[Any]

_RESEND: Final = int(SubmitFlag.RESEND)
_OWN_ID: Final = int(SubmitFlag.OWN_ID)


class Items:
    """Makes the items of one namespace; generated ids come from `ids`, with the time of its last refresh."""

    __slots__ = ("_ids", "_namespace")

    def __init__(self, namespace: str, ids: JobIds) -> None:
        self._namespace = namespace
        self._ids = ids

    def item(self, task: Callee, body: bytes, flags: int) -> SubmitItem:
        """One submit of the task, with arguments that are packed already."""
        plan = task.plan(self._namespace)
        if plan.own_id:
            flags |= _OWN_ID
            key = own_id(self._namespace, plan.queue, plan.own_id)
        else:
            key = self._ids.next(plan.queue)
        return SubmitItem(
            key, plan.spec_bytes, body, flags, plan.delay_ms, plan.at_ms, plan.headers, plan.own_id, plan.extra
        )

    def child(self, family: Family, task: AnyTask, body: bytes) -> SubmitItem:
        """One that a running job submits, which an earlier run of it may have submitted before."""
        plan = task.plan(self._namespace)
        item = self.item(task, body, _RESEND)
        if not plan.own_id:
            item.job = family.next_id(self._namespace, plan.queue, plan.task, body)
        item.extra = family.extra(plan.extra, plan.inherit)
        return item
