"""An app that leaves marks: every run, and every end that was told as recorded, is a line of one log.

All processes append to the file `MARKS_LOG`, each line by one write, so the order of its lines is the order in which
things happened. `hold` rings at the Unix socket `MARKS_BELL` and goes on when it is told to.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from aioqueue import Context, Queue

# No outage is so short; running jobs wait for its end all the same.
queue = Queue("tcp://127.0.0.1:1", timeout="0.2s")


def mark(*words: Any) -> None:
    """Append one line to the log of all processes."""
    mark_in(Path(os.environ["MARKS_LOG"]), *words)


def mark_in(path: Path, *words: Any) -> None:
    """Append one line to such a log; for processes that do not run the app."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    finally:
        os.close(descriptor)


def mark_start(context: Context) -> None:
    mark("start", context.job, context.attempt, context.crashes, os.getpid(), time.monotonic_ns())


@queue.task(name="step")
async def step(context: Context, number: int) -> int:
    mark_start(context)
    return number * 2


@queue.task(name="pause")
async def pause(context: Context, number: int, seconds: float) -> int:
    mark_start(context)
    await asyncio.sleep(seconds)
    return number * 2


@queue.task(name="fail", retry=1)
async def fail(context: Context, text: str) -> None:
    mark_start(context)
    raise ValueError(text)


@queue.task(name="spoil")
async def spoil() -> Any:
    """A result that no codec can write."""
    return object()


@queue.task(name="hold")
async def hold(context: Context, number: int) -> int:
    await _ring(context)
    return number * 2


async def _ring(context: Context) -> None:
    mark_start(context)
    reader, writer = await asyncio.open_unix_connection(os.environ["MARKS_BELL"])
    try:
        told = {"job": context.job, "attempt": context.attempt, "crashes": context.crashes, "pid": os.getpid()}
        writer.write(json.dumps(told).encode() + b"\n")
        await reader.readline()
    finally:
        writer.close()


@queue.task(name="bear")
async def bear(context: Context, number: int) -> int:
    """Rings, and when it is told to go on has a child."""
    await _ring(context)
    return await (await context.submit(step, number))


@queue.task(name="spin")
async def spin(context: Context, until: str) -> int:
    """Python that never awaits: nothing else runs on the event loop."""
    mark_start(context)
    turns = 0
    while not os.path.exists(until):
        turns += 1
    return turns


@queue.task(name="hold_gil")
async def hold_gil(context: Context, fifo: str) -> int:
    """C code that keeps the GIL until somebody writes: no thread of the process runs."""
    mark_start(context)
    descriptor = os.open(fifo, os.O_RDWR)
    return int(ctypes.PyDLL(None).read(descriptor, ctypes.create_string_buffer(1), 1))


class _Marks(logging.Handler):
    """Marks what the broker said of an end: `told JOB FENCE END ANSWER`."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.args and record.levelno == logging.DEBUG:
            mark("told", *record.args)  # type: ignore[misc]


def mark_settles() -> None:
    settles = logging.getLogger("aioqueue.worker.settles")
    settles.setLevel(logging.DEBUG)
    settles.addHandler(_Marks())


if "MARKS_LOG" in os.environ:
    mark_settles()
