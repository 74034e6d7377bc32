"""Exceptions as data: what the worker says of a run that failed.

Whatever a task raises becomes a `Failure` of bounded size: exceptions whose own `str` fails, messages of megabytes,
groups of groups, endless recursion. Nothing here raises, and nothing is ever pickled.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Final

from aioqueue import errors
from aioqueue.errors import AioqueueError
from aioqueue.limits import ERROR_BYTES_MAX, FAILURE_TEXT_BYTES_MAX
from aioqueue.model.bodies import pack_failure
from aioqueue.model.views import Failure

_TYPE_BYTES_MAX: Final = 256
_LINE_BYTES_MAX: Final = 500
# What is left of a failure's body for the traceback, beside type, text and their lengths.
_TRACEBACK_BYTES_MAX: Final = ERROR_BYTES_MAX - FAILURE_TEXT_BYTES_MAX - _TYPE_BYTES_MAX - 64
# The frames of a traceback that are formatted; recursion of one function is folded before.
_FRAMES_MAX: Final = 100
_PACKAGE: Final = os.path.join(os.path.dirname(os.path.dirname(errors.__file__)), "")
_OWN_FILES: Final = tuple(
    f"aioqueue/worker/{name}.py" for name in ("runners", "calls", "threads", "processes", "process_child")
)


class Told(Exception):
    """What another process told of an exception; `kinds` are the names of its class and of that class's bases.

    `misfit`: the run did not begin, for it does not fit the task as that process has it.
    """

    def __init__(self, failure: Failure, kinds: Sequence[str], misfit: bool = False) -> None:
        super().__init__(failure.text)
        self.failure = failure
        self.kinds = kinds
        self.misfit = misfit


def failure_of(error: BaseException, *, retry: bool) -> Failure:
    """The exception as data: its qualified type, its text and its traceback, each of bounded size."""
    if isinstance(error, Told):
        return Failure(error.failure.type, error.failure.text, error.failure.traceback, retry)
    return Failure(type_of(error), text_of(error), _traceback_of(error), retry)


def failure_body(failure: Failure) -> bytes:
    """The failure as a body of at most `ERROR_BYTES_MAX`, whatever its texts are."""
    return pack_failure(
        Failure(
            bounded(failure.type, _TYPE_BYTES_MAX),
            bounded(failure.text, FAILURE_TEXT_BYTES_MAX),
            bounded(failure.traceback, _TRACEBACK_BYTES_MAX),
            failure.retry,
        )
    )


def type_of(error: BaseException) -> str:
    """`ValueError`, or `shop.errors.OutOfStock`: the name by which a person finds the class."""
    if isinstance(error, Told):
        return error.failure.type
    kind = type(error)
    module, name = str(getattr(kind, "__module__", "")), str(getattr(kind, "__qualname__", kind.__name__))
    return name if module in ("builtins", "") else f"{module}.{name}"


def text_of(error: BaseException) -> str:
    """What the exception says of itself; one that cannot say it is told as such."""
    try:
        return str(error)
    except BaseException as trouble:  # a task's exception class may do anything, `sys.exit` included
        return f"<its text cannot be read: {type(trouble).__name__}>"


def death_of(code: int) -> str:
    """How a process ended, by the exit code that `subprocess` gives."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def line_of(error: BaseException) -> str:
    """The text in one line for a log."""
    return bounded(" ".join(text_of(error).split()), _LINE_BYTES_MAX)


def bounded(text: str, bytes_max: int) -> str:
    """The text as valid UTF-8 of at most `bytes_max` bytes; what is too long loses its middle."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= bytes_max:
        return data.decode()
    mark = f" ... ({len(data)} bytes in all) ... "
    # The end of a traceback is where the cause stands.
    head = (bytes_max - len(mark)) // 4
    tail = bytes_max - len(mark) - head
    return data[:head].decode("utf-8", "ignore") + mark + data[-tail:].decode("utf-8", "ignore")


def _traceback_of(error: BaseException) -> str:
    try:
        told = traceback.TracebackException(
            type(error), error, _from_the_task_on(error.__traceback__), limit=-_FRAMES_MAX, max_group_width=5
        )
        if isinstance(error, AioqueueError):
            # An error of this package is about the call, such as a child that failed: where it was raised is no news.
            own = [frame for frame in told.stack if frame.filename.startswith(_PACKAGE)]
            if len(own) < len(told.stack):
                told.stack[:] = [frame for frame in told.stack if frame not in own]
        return "".join(told.format())
    except BaseException as trouble:
        return f"<its traceback cannot be written: {type(trouble).__name__}>"


def _from_the_task_on(frames: TracebackType | None) -> TracebackType | None:
    """The traceback without the worker's own frames, which tell a task's author nothing."""
    first = frames
    while first is not None and first.tb_frame.f_code.co_filename.replace("\\", "/").endswith(_OWN_FILES):
        first = first.tb_next
    return first if first is not None else frames
