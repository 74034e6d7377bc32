"""The arguments of a job on a line, shortened or whole, and asking for those that a list leaves out.

Used by `listing`, `showing` and `exporting`.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec.structs import replace

from aioqueue.client.asking import Questions
from aioqueue.client.documents import json_text
from aioqueue.client.info import JobInfo
from aioqueue.errors import JobNotFound, ResultExpired
from aioqueue.limits import ARGS_LISTED_BYTES_MAX, BODY_BYTES_MAX
from aioqueue.model.ids import id_bytes
from aioqueue.model.sizes import size_text
from aioqueue.monitor.text import plain, short

# A body's first byte is its codec.
WHOLE_BYTES: Final = BODY_BYTES_MAX + 1


class Arguments(Enum):
    """How much of the arguments is shown."""

    NONE = "none"
    SHORT = "short"
    FULL = "full"

    @property
    def listed_bytes(self) -> int:
        """How long the arguments are at most that a list is asked for."""
        return 0 if self is Arguments.NONE else ARGS_LISTED_BYTES_MAX


def arguments_text(info: JobInfo, width: int = 0) -> str:
    """`["ada@example.com",1] {"card":"4…`, in at most `width` characters unless that is 0; empty where none are kept.

    What was too long to be told, or was packed in a way that is not known here, is how long it is: `(24.1 KiB)`.
    """
    if info.args is None:
        return f"({size_text(info.args_bytes)})" if info.args_bytes else ""
    text = plain(json_text(info.args))
    if info.kwargs:
        text = f"{text} {plain(json_text(info.kwargs))}"
    return short(text, width) if width else text


async def with_all_arguments(questions: Questions, info: JobInfo) -> JobInfo:
    """The job of a list, with arguments that were too long for that."""
    if info.args is not None or info.args_bytes <= ARGS_LISTED_BYTES_MAX:
        return info
    try:
        whole = await questions.info(id_bytes(info.id), args_bytes=WHOLE_BYTES)
    except (JobNotFound, ResultExpired):
        # Forgotten meanwhile.
        return info
    return replace(info, args=whole.args, kwargs=whole.kwargs)
