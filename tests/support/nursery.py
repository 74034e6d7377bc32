"""A process that has imported everything and forks what a test asks for: programs that begin in milliseconds.

A test that kills a thousand brokers would spend nearly all of its time in imports. The nursery has run nothing but
imports when it forks, and has one thread and no event loop; what it forks runs the same `main` as a program of its own
that was started by hand, has its own sockets, and is killed by SIGKILL like any other. `python -m tests.support.nursery
FD` is the nursery, `Nursery` the test's end. Both speak messages of JSON over a socket pair, with the files of the new
process beside them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import sys
from asyncio import subprocess
from importlib import import_module
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import Any, Final, NoReturn, Self

from tests.support.commands import environment

MESSAGE_BYTES_MAX: Final = 64 * 1024
_IMPORTED: Final = (
    "aioqueue.cli.serving", "aioqueue.cli.app", "aioqueue.cli.running", "aioqueue.worker.supervisor",
    "aioqueue.worker.child", "tests.faults.producer",
    # What these import only when they run; another version of them may have it elsewhere.
    "anyio._backends._asyncio", "typer._adapters", "uvloop", "zoneinfo", "importlib.metadata",
)  # fmt: skip


class Forked:
    """One process; as much of asyncio's own `Process` as programs need."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._ended = asyncio.Event()

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def communicate(self) -> None:
        """Read its stdout to the end, and wait for its own."""
        while await self.stdout.read(MESSAGE_BYTES_MAX):
            pass
        await self.wait()

    def tell_end(self, code: int) -> None:
        self.returncode = code
        self._ended.set()


class Nursery:
    """The test's end: `async with Nursery() as nursery`, then `await nursery.begin(...)`. Its end is theirs."""

    def __init__(self) -> None:
        self._near: socket.socket
        self._process: subprocess.Process
        self._asked: asyncio.Queue[asyncio.Future[int]] = asyncio.Queue()
        self._living: dict[int, Forked] = {}
        self._ready: asyncio.Future[None]
        # Ends that were told before their process was known here.
        self._early: dict[int, int] = {}

    async def __aenter__(self) -> Self:
        self._near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with far:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.support.nursery", str(far.fileno()),
                pass_fds=[far.fileno()], stdin=subprocess.DEVNULL, env=environment(),
            )  # fmt: skip
        self._near.setblocking(False)
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        loop.add_reader(self._near, self._read)
        await self._ready
        return self

    async def __aexit__(self, *reason: object) -> None:
        asyncio.get_running_loop().remove_reader(self._near)
        self._near.close()
        await self._process.wait()

    async def begin(self, target: str, words: list[str], *, cwd: Path, env: dict[str, str], errors: Path) -> Forked:
        """A process that runs `target`, a module and its function, with these words after its name."""
        read, write = os.pipe()
        described = {"target": target, "words": words, "cwd": str(cwd), "env": env}
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        with errors.open("ab") as file:
            self._asked.put_nowait(answer)
            socket.send_fds(self._near, [json.dumps(described).encode()], [write, file.fileno()])
        os.close(write)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read, "rb")
        )
        forked = Forked(await answer, reader)
        self._living[forked.pid] = forked
        if (code := self._early.pop(forked.pid, None)) is not None:
            forked.tell_end(code)
        return forked

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := self._near.recv(MESSAGE_BYTES_MAX):
                told: dict[str, int] = json.loads(data)
                if "code" in told:
                    forked = self._living.pop(told["pid"], None)
                    if forked is None:
                        self._early[told["pid"]] = told["code"]
                    else:
                        forked.tell_end(told["code"])
                elif told["pid"]:
                    self._asked.get_nowait().set_result(told["pid"])
                else:
                    self._ready.set_result(None)


# --- the process --------------------------------------------------------------------------------------------------


def main() -> None:
    """Fork on request until the test is gone, and then see everybody's end."""
    for name in _IMPORTED:
        with contextlib.suppress(ModuleNotFoundError):
            import_module(name)
    gc.collect()
    gc.freeze()
    far = socket.socket(fileno=int(sys.argv[1]))
    woken, waking = socket.socketpair()
    for each in (woken, waking):
        each.setblocking(False)
    signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: set[int] = set()
    selector = DefaultSelector()
    selector.register(far, EVENT_READ)
    selector.register(woken, EVENT_READ)
    far.send(b'{"pid": 0}')
    while True:
        for key, _ in selector.select():
            if key.fileobj is woken:
                with contextlib.suppress(BlockingIOError):
                    woken.recv(MESSAGE_BYTES_MAX)
            elif not _take_request(far, children):
                for pid in children:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return
            _reap(far, children)


def _take_request(far: socket.socket, children: set[int]) -> bool:
    data, descriptors, _, _ = socket.recv_fds(far, MESSAGE_BYTES_MAX, 2)
    if not data:
        return False
    pid = os.fork()
    if pid == 0:
        _be(json.loads(data), descriptors, far)
    children.add(pid)
    for descriptor in descriptors:
        os.close(descriptor)
    far.send(json.dumps({"pid": pid}).encode())
    return True


def _reap(far: socket.socket, children: set[int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            children.discard(found[0])
            told = {"pid": found[0], "code": os.waitstatus_to_exitcode(found[1])}
            far.send(json.dumps(told).encode())


def _be(described: dict[str, Any], descriptors: list[int], far: socket.socket) -> NoReturn:
    """Be the program that was asked for."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        far.close()
        os.dup2(descriptors[0], 1)
        os.dup2(descriptors[1], 2)
        for descriptor in descriptors:
            os.close(descriptor)
        # Those of the nursery were made for other files.
        sys.stdout = os.fdopen(1, "w", 1, closefd=False)
        sys.stderr = os.fdopen(2, "w", 1, closefd=False)
        os.chdir(described["cwd"])
        os.environ.clear()
        os.environ.update(described["env"])
        module, function = described["target"].split(":")
        sys.argv = [module, *described["words"]]
        getattr(import_module(module), function)()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
