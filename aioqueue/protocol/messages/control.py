"""What was set at the broker, and is listed page by page: the registry of tasks."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from msgspec import Meta, Struct

from aioqueue.limits import CONTROL_NAMES_MAX, TASK_BODY_BYTES_MAX, TASK_DIGEST_BYTES
from aioqueue.protocol.messages.base import Array, Name, Number


class ControlKind(IntEnum):
    """What is listed."""

    TASKS = 1


class ListControl(Struct, array_like=True, tag=82, gc=False):
    """A page of what is set in this namespace, in the order of the names: those of `names`, or all behind `after`.

    With `names_only` the descriptions are left out.
    """

    request: Number
    kind: Number = ControlKind.TASKS
    names: Annotated[list[Name], Meta(max_length=CONTROL_NAMES_MAX)] = []
    after: Name = ""
    limit: Number = CONTROL_NAMES_MAX
    names_only: bool = False


class TaskEntry(Array):
    """A registered task: the digest and the body of its description, and when it was last known to be in use."""

    name: Name
    digest: Annotated[bytes, Meta(max_length=TASK_DIGEST_BYTES)] = b""
    body: Annotated[bytes, Meta(max_length=TASK_BODY_BYTES_MAX)] = b""
    used_ms: Number = 0


class ControlPage(Struct, array_like=True, tag=83, gc=False):
    """The answer to `ListControl`. `more` says that names follow behind the last one; `total` is how many are set in
    all.
    """

    request: Number
    position: Number = 0
    tasks: Annotated[list[TaskEntry], Meta(max_length=CONTROL_NAMES_MAX)] = []
    more: bool = False
    total: Number = 0
