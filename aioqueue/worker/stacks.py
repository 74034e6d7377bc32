"""Where a thread is, in one line that its author can use: `shop.py:12 in resize, in PIL/Image.py:2200 in resize`.

First comes the innermost line of the program's own code, for that is what can be changed; then, if it called into a
library, the line that runs. Frames of the event loop and of the worker tell nobody anything and are left out.
"""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
from asyncio.base_events import BaseEventLoop
from collections import deque
from types import CodeType, FrameType, TracebackType
from typing import Any, Final, NamedTuple

from aioqueue.limits import PLACE_CHARACTERS_MAX


class _Waiting(NamedTuple):
    frame: str
    waits_for: str


_WORKER: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep
# The longest first: installed packages lie within the standard library.
_PATHS: Final = ("stdlib", "platstdlib", "purelib", "platlib")
_FOLDERS: Final = sorted({sysconfig.get_path(name) + os.sep for name in _PATHS}, key=len, reverse=True)
_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_LIBRARIES: Final = (*_FOLDERS, _PACKAGE, "<frozen ")
# Below these a stack belongs to the event loop. uvloop's own has no frames.
_LOOP: Final = frozenset({asyncio.Handle._run.__code__, asyncio.Runner.run.__code__})
# Directly above this one, the loop waits for something to happen.
_TURN: Final = BaseEventLoop._run_once.__code__  # type: ignore[attr-defined]
# What can be awaited and has a frame.
_WAITING: Final = (
    _Waiting("cr_frame", "cr_await"),
    _Waiting("gi_frame", "gi_yieldfrom"),
    _Waiting("ag_frame", "ag_await"),
)
# What runs, and at which of its lines.
_Spot = tuple[CodeType, int]
# A stack may be as deep as recursion goes.
_FRAMES_MAX: Final = 200


def place_of(thread: int) -> str:
    """Where this thread is now, in at most `PLACE_CHARACTERS_MAX` characters; empty if it is in nobody's code."""
    return _place(_spots(sys._current_frames().get(thread)))


def place_of_task(task: asyncio.Task[Any]) -> str:
    """Where this task, which does not run at the moment, waits."""
    spots: list[_Spot] = []
    waits: Any = task.get_coro()
    while waits is not None and len(spots) < _FRAMES_MAX:
        # A coroutine, a generator of the old kind, or an asynchronous generator.
        kind = next((kind for kind in _WAITING if hasattr(waits, kind.frame)), None)
        if kind is None:
            break
        frame, waits = getattr(waits, kind.frame), getattr(waits, kind.waits_for)
        if frame is not None and not frame.f_code.co_filename.startswith(_WORKER):
            spots.append((frame.f_code, frame.f_lineno))
    return _place(spots[::-1])


def place_of_error(error: BaseException) -> str:
    """Where it was raised; empty where that was not in a task's code."""
    spots: deque[_Spot] = deque(maxlen=_FRAMES_MAX)
    entry: TracebackType | None = error.__traceback__
    while entry is not None:
        code = entry.tb_frame.f_code
        if not code.co_filename.startswith(_PACKAGE):
            spots.appendleft((code, entry.tb_lineno))
        entry = entry.tb_next
    return _place(list(spots))


def _place(spots: list[_Spot]) -> str:
    """In words; the innermost comes first."""
    if not spots:
        return ""
    own = next((spot for spot in spots if not spot[0].co_filename.startswith(_LIBRARIES)), spots[-1])
    place = _line(*own) if own is spots[0] else f"{_line(*own)}, in {_line(*spots[0])}"
    # A file's name may hold bytes that are no text.
    return place.encode("utf-8", "backslashreplace").decode()[:PLACE_CHARACTERS_MAX]


def _spots(frame: FrameType | None) -> list[_Spot]:
    """From the innermost frame to that of the task or the callback."""
    spots: list[_Spot] = []
    while frame is not None and len(spots) < _FRAMES_MAX:
        if frame.f_code is _TURN:
            return []
        if frame.f_code in _LOOP or frame.f_code.co_filename.startswith(_WORKER):
            break
        spots.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return spots


def _line(code: CodeType, line: int) -> str:
    file = code.co_filename
    folder = next((folder for folder in (*_FOLDERS, os.getcwd() + os.sep) if file.startswith(folder)), "")
    file = file.removeprefix(folder)
    return f"{file}:{line} in {code.co_qualname}"
