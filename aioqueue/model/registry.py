"""The description of a task: what a program that cannot import it needs to submit it as its declaration says.

A worker packs one for each of its tasks; the broker keeps it by its digest and never looks inside; whoever submits by
name reads it. Two releases of one program that declare the same make the same bytes, and so the same digest.

A description with more fields than are known here was made by a newer aioqueue. It is refused, not read without them:
a job must not lose an option because an older program submitted it.
"""

from __future__ import annotations

from enum import IntEnum
from hashlib import sha256
from keyword import iskeyword
from typing import Final

import msgspec

from aioqueue.errors import BadOption, MalformedFrame, PayloadTooLarge, Unsupported
from aioqueue.limits import PRIORITY_DEFAULT, TASK_BODY_BYTES_MAX, TASK_DIGEST_BYTES
from aioqueue.model.growth import Shapes, shortened
from aioqueue.model.names import check_name
from aioqueue.model.spec import RetryPolicy


class Passing(IntEnum):
    """How an argument is passed; the numbers are those of `inspect.Parameter`."""

    POSITIONAL_ONLY = 0
    EITHER = 1
    MORE_POSITIONAL = 2
    KEYWORD_ONLY = 3
    MORE_KEYWORDS = 4


class TaskParameter(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """One parameter. `kind` is the annotation as text, empty where there is none; it is for people."""

    name: str
    kind: str = ""
    required: bool = True
    passing: Passing = Passing.EITHER


class TaskDescription(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """All that a declaration says of the jobs of its task. Durations are milliseconds.

    `deadline` and `expires` are `(duration from the submit, instant UTC)`, both 0 for none. `returns` is the annotation
    of the result as text, `doc` the first line of the docstring.
    """

    queue: str
    priority: int = PRIORITY_DEFAULT
    retry: RetryPolicy = RetryPolicy()
    timeout_ms: int = 0
    keep_ms: int = -1
    executor: str = "async"
    labels: tuple[str, ...] = ()
    delay_ms: int = 0
    deadline: tuple[int, int] = (0, 0)
    expires: tuple[int, int] = (0, 0)
    inherit: bool = False
    headers: dict[str, str] = {}
    parameters: tuple[TaskParameter, ...] = ()
    returns: str = ""
    doc: str = ""


# How many fields were there at first: those are always written.
DESCRIPTION_FIELDS: Final[dict[type, int]] = {TaskDescription: 15, TaskParameter: 4, RetryPolicy: 6}

_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(TaskDescription)
_shapes = Shapes(TaskDescription)


def pack_description(task: str, description: TaskDescription) -> bytes:
    """The bytes by which it travels and is journaled. Raises `PayloadTooLarge`."""
    body = _encoder.encode(shortened(description, DESCRIPTION_FIELDS))
    if len(body) > TASK_BODY_BYTES_MAX:
        raise PayloadTooLarge(what=f"the description of task {task}", size=len(body), limit=TASK_BODY_BYTES_MAX)
    return body


def digest_of(body: bytes) -> bytes:
    """What a packed description is known by."""
    return sha256(body).digest()[:TASK_DIGEST_BYTES]


def unpack_description(task: str, body: bytes) -> TaskDescription:
    """A description that another process packed, checked.

    Raises `Unsupported` for a newer version's, and `MalformedFrame`, `BadName` or `BadOption`.
    """
    try:
        description = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if newer := _shapes.newer_in(body):
            raise Unsupported(what=f"all that task {task} declares ({newer})") from None
        raise MalformedFrame(reason=f"the description of task {task}: {error}") from None
    check_name("queue", description.queue)
    for parameter in description.parameters:
        if not parameter.name.isidentifier() or iskeyword(parameter.name):
            reason = f"{parameter.name[:80]!r} is no name of a parameter"
            raise BadOption(option="parameters", value=task, reason=reason)
    return description
