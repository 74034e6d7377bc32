"""What the broker itself costs a job: `python benchmarks/broker.py [JOBS] [ROUNDS] [TREE ...]`.

A broker in this process, without a network and without a disk: frames that were made before are fed to it as a client
would say them, and its runs are settled at once. What is shown is the processor time of the broker's own thread, what
the other side costs taken off: for bulks of 500, for single submits that share frames of 100, and one job at a time.

With checkouts of the project as `TREE`s they take turns, each in a process of its own, and are compared with the first:
medians of the rounds' ratios, which mean something beside other work too.
"""

from __future__ import annotations

import asyncio
import gc
import os
import statistics
import subprocess
import sys
import time
from itertools import count
from typing import Any

import uvloop

from aioqueue.archive.base import KeepRule
from aioqueue.broker.broker import Broker
from aioqueue.broker.storage import Storage
from aioqueue.clock import SystemClock
from aioqueue.ground import Ground
from aioqueue.journal.memory import Faults, MemoryJournal, MemoryStore
from aioqueue.model.ids import generated_id
from aioqueue.model.spec import Spec, pack_spec
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.frames import FrameReader
from aioqueue.transport.stream import Inbox, Stream

CODEC = Codec()
SPEC = pack_spec(Spec("default", "default", "bench.noop"))
WINDOW = 2_500
# Jobs a frame, by kind of submit.
KINDS = {"bulk": 500, "single": 100, "one": 1}


class NoArchive:
    """An archive that keeps nothing and costs nothing."""

    synced = 0
    keep = KeepRule()

    async def write(self, finished: Any, runs: Any, requeued: Any, position: int) -> None:
        self.synced = position

    async def get(self, ids: Any) -> dict[bytes, Any]:
        return {}

    async def retain(self, *arguments: Any) -> int:
        return 0

    async def shrink(self) -> bool:
        return False

    async def aclose(self) -> None:
        pass


class Fed(Stream):
    """A stream whose other end is `heard`, called with what the broker says."""

    peer = "bench"
    on_input: Any = None

    def __init__(self, heard: Any) -> None:
        self._heard = heard
        self._inbox = Inbox()
        self._frames = FrameReader(1 << 24)

    @property
    def waiting_bytes(self) -> int:
        return self._inbox.size

    def say(self, *messages: Any) -> None:
        self.put(packed(*messages))

    def put(self, data: bytes) -> None:
        if self.on_input is not None:
            self.on_input(len(data))
        self._inbox.put(data)

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        return await self._inbox.take(max_bytes)

    async def send(self, item: bytes | bytearray) -> None:
        self._heard([CODEC.decode_broker(frame) for frame in self._frames.feed(bytes(item))])

    async def send_eof(self) -> None:
        pass

    async def aclose(self) -> None:
        self._inbox.close()

    def abort(self) -> None:
        self._inbox.close()


def packed(*messages: Any) -> bytes:
    frames = bytearray()
    for message in messages:
        CODEC.encode_into(message, frames)
    return bytes(frames)


class Load:
    """A client and a worker that do nothing."""

    def __init__(self) -> None:
        self.client, self.worker = Fed(self._client_heard), Fed(self._worker_heard)
        self.welcomed = asyncio.Semaphore(0)
        self._requests, self._settles, self._numbers = count(1), count(1), count()
        self._own_seconds = 0.0
        self._frames: list[tuple[bytes, list[bytes]]] = []
        self._unanswered: dict[int, list[bytes]] = {}
        self._left = self._credit = self._a_frame = 0
        self._over: asyncio.Future[None] | None = None

    def greet(self) -> None:
        self.client.say(m.Hello(1, 1, m.Role.CLIENT, os.urandom(16)))
        self.worker.say(m.Hello(1, 1, m.Role.WORKER, os.urandom(16)))

    async def run(self, kind: str, jobs: int) -> float:
        """Microseconds of the broker a job."""
        self._prepare(kind, jobs)
        gc.collect()
        self._over = asyncio.get_running_loop().create_future()
        self._own_seconds, began = 0.0, time.thread_time()
        self._more(min(jobs, WINDOW) if kind != "one" else 1)
        await self._over
        return (time.thread_time() - began - self._own_seconds) / jobs * 1e6

    def _prepare(self, kind: str, jobs: int) -> None:
        self._left, self._credit, self._a_frame = jobs, 0, KINDS[kind]
        flags = m.SubmitFlag(0) if kind == "bulk" else m.SubmitFlag.WANT_RESULT
        submit = m.SubmitAtomic if kind == "bulk" else m.Submit
        now_ms = SystemClock().now().wall_ms
        for _ in range(0, jobs, self._a_frame):
            ids = [
                generated_id("default", "default", now_ms, next(self._numbers).to_bytes(10, "big"))
                for _ in range(self._a_frame)
            ]
            items = [m.SubmitItem(job_id, SPEC, b"\x92\x90\x80", int(flags)) for job_id in ids]
            request = next(self._requests)
            if kind == "bulk":
                self._unanswered[request] = ids
            self._frames.append((packed(submit(request, items)), ids))
        self._frames.reverse()

    def _more(self, jobs: int) -> None:
        self._credit += jobs
        while self._frames and self._credit >= self._a_frame:
            self._credit -= self._a_frame
            self.client.put(self._frames.pop()[0])

    def _client_heard(self, messages: list[Any]) -> None:
        began = time.thread_time()
        for message in messages:
            if isinstance(message, m.Ended):
                self._left -= len(message.items)
                self._more(len(message.items))
            elif isinstance(message, m.Submitted) and (ids := self._unanswered.pop(message.request, None)):
                self.client.say(m.Wait(ids))
            elif isinstance(message, m.Welcome):
                self.welcomed.release()
        if not self._left and self._over is not None and not self._over.done():
            self._over.set_result(None)
        self._own_seconds += time.thread_time() - began

    def _worker_heard(self, messages: list[Any]) -> None:
        began = time.thread_time()
        for message in messages:
            if isinstance(message, m.Deliver):
                items = [m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, b"\x01\xc0") for run in message.items]
                self.worker.say(m.Settle(next(self._settles), items))
            elif isinstance(message, m.Welcome):
                self.welcomed.release()
                self.worker.say(m.Capacity(500, ["default"]))
        self._own_seconds += time.thread_time() - began


async def measure() -> None:
    """Rounds as they are asked for by lines of the standard input."""
    # As long as a quick disk takes, so that commands share batches; nothing at all for one job at a time.
    store, delay = MemoryStore(), [0.0]
    journal = MemoryJournal(store, Faults(delay=lambda: asyncio.sleep(delay[0])))

    async def open_archive(journal_id: bytes) -> Any:
        return NoArchive()

    load = Load()
    async with Broker.open(Storage("memory:", journal, open_archive), ground=Ground()) as broker:
        for stream in (load.client, load.worker):
            broker.spawn(broker.attend, stream)
        load.greet()
        for _ in range(2):
            await load.welcomed.acquire()
        gc.freeze()
        for line in iter(sys.stdin.readline, ""):
            kind, jobs = line.split()
            delay[0] = 0.0 if kind == "one" else 0.002
            print(await load.run(kind, int(jobs)), flush=True)
            # What a disk would keep, memory need not.
            for position in list(store.batches)[:-2]:
                store.batches[position] = b""
        os._exit(0)


def compare(jobs: int, rounds: int, trees: list[str]) -> None:
    processes = [
        subprocess.Popen(
            # Each tree's own, which knows how its broker is made.
            [sys.executable, os.path.join(tree, "benchmarks", "broker.py"), "-"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": tree, "PYTHONHASHSEED": "0"},
        )
        for tree in trees
    ]  # fmt: skip

    def ask(process: subprocess.Popen[str], kind: str) -> float:
        assert process.stdin is not None
        assert process.stdout is not None
        print(kind, jobs, file=process.stdin, flush=True)
        return float(process.stdout.readline())

    for kind in KINDS:
        for process in processes:
            ask(process, kind)
        figures = [[ask(process, kind) for process in processes] for _ in range(rounds)]
        for place, tree in enumerate(trees):
            median = statistics.median(row[place] for row in figures)
            ratio = statistics.median(row[place] / row[0] for row in figures)
            print(f"{kind:8} {median:7.1f} us a job, {ratio:.3f} of the first   {tree}")
    for process in processes:
        process.terminate()


if __name__ == "__main__":
    if sys.argv[1:] == ["-"]:
        uvloop.run(measure())
    else:
        jobs, rounds, *trees = [*sys.argv[1:], "1000", "20"][: max(2, len(sys.argv) - 1)]
        compare(int(jobs), int(rounds), trees or [os.getcwd()])
