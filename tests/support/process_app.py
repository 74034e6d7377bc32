"""Tasks that run in processes of their own; each leaves what a test looks at in files that it names."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import multiprocessing
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from aioqueue import Context, Queue

queue = Queue("tcp://127.0.0.1:1", defaults={"executor": "process", "retry": 1})


class OutOfPaper(Exception):
    """A failure of this app's own."""


@queue.task(name="pid")
def pid() -> int:
    return os.getpid()


@queue.task(name="add")
async def add(a: int, b: int = 1) -> int:
    await asyncio.sleep(0)
    return a + b


@queue.task(name="context")
def told(context: Context, path: Path) -> dict[str, Any]:
    context.log.warning("hello from %s", path)
    return {"job": context.job, "attempt": context.attempt, "headers": context.headers, "stop": context.should_stop()}


@queue.task(name="fail")
def fail(text: str) -> None:
    raise OutOfPaper(text)


@queue.task(name="leave")
def leave(how: int) -> None:
    if how < 0:
        os.kill(os.getpid(), -how)
    os._exit(how)


@queue.task(name="object")
def nothing_to_pack() -> Any:
    return object()


@queue.task(name="endless")
def endless(begun: str) -> None:
    """Notes its process and that of a program that it starts, and waits for that one."""
    child = subprocess.Popen(["sleep", "1000"])
    note(begun, os.getpid(), child.pid)
    child.wait()


def leave_behind(begun: str) -> None:
    """Start programs in every way in which they might outlive a job, and note them."""
    pids = [subprocess.Popen(["sleep", "1000"], start_new_session=session).pid for session in (True, False)]
    # Daemons: who started them has ended.
    for shell in (["sh"], ["setsid", "sh"]):
        told = subprocess.run([*shell, "-c", "sleep 1000 >&2 & echo $!"], check=True, stdout=subprocess.PIPE, env={})
        pids.append(int(told.stdout))
    note(begun, os.getpid(), *pids)


@queue.task(name="leaving")
def leaving(begun: str, how: str) -> str:
    """Leaves programs behind, and returns, waits to be stopped, or dies."""
    leave_behind(begun)
    while how == "wait":
        time.sleep(1000)
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@queue.task(name="spawning")
def spawning() -> int:
    """Uses what Python keeps for a process that spawns: its tracker, and its server of forks."""
    for method in ("spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            pool.apply(abs, [-1])
    return os.getpid()


@queue.task(name="zombies")
def zombies() -> list[str]:
    """The states of this process's children."""
    return [child.status() for child in psutil.Process().children()]


@queue.task(name="deaf")
def deaf(begun: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(begun, os.getpid())
    while True:
        time.sleep(1000)


@queue.task(name="polite")
def polite(begun: str) -> str:
    """Heeds SIGTERM in its own way: it ends with a result."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    note(begun, os.getpid())
    while not stopped:
        time.sleep(0.005)
    return "I was done"


@queue.task(name="hold_gil")
def hold_gil(begun: str, fifo: str) -> int:
    """C code that keeps the GIL: no thread of its process runs."""
    descriptor = os.open(fifo, os.O_RDWR)
    note(begun, os.getpid())
    return int(ctypes.PyDLL(None).read(descriptor, ctypes.create_string_buffer(1), 1))


@queue.task(name="closing")
def closing() -> None:
    os.closerange(3, 100)


@queue.task(name="forking")
def forking() -> int:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    return os.getpid()


def note(path: str, *numbers: int) -> None:
    """Write all of it at once, so that whoever sees the file sees its text."""
    Path(f"{path}.new").write_text(" ".join(map(str, numbers)))
    with contextlib.suppress(OSError):
        os.rename(f"{path}.new", path)


def plain() -> None:
    """A function that a test declares under another's name."""
