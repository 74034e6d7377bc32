"""Payloads of the largest size, very many at once: `python benchmarks/payloads.py [JOBS] [PRODUCERS] [WORKERS]`.

A broker, so many worker processes, and so many producers with a connection each, all in processes of their own. Each
producer submits its part of the jobs at once, with arguments of 1 MiB less some bytes, and awaits all results, which
are as large. First nobody works, so that all wait; then the workers come. Shown are the broker's memory as the system
says it (the highest it ever was, too), its disk, and how long each part took. Whatever fails ends the benchmark, but
`QueueFull`: that is waited out.

The folder needs three times the payloads, and each producer its part of them twice in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from aioqueue import Queue, QueueFull
from aioqueue.bench import processes
from aioqueue.bench.processes import Child
from aioqueue.limits import BODY_BYTES_MAX, MIB

DATA = os.urandom(BODY_BYTES_MAX - 64)
CONCURRENCY = 64
queue = Queue()


@queue.task(name="payloads.echo")
async def echo(data: bytes) -> bytes:
    """As much back as came."""
    return data


def highest_bytes(pid: int) -> int:
    """The most memory that the process ever had resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("the system does not tell of a process's memory")


async def produce(url: str, jobs: int) -> None:
    """Submit them all at once, say so, and await them all."""
    refused = 0

    async def submit(app: Queue) -> str:
        nonlocal refused
        while True:
            try:
                return (await app.submit(echo, DATA)).id
            except QueueFull:
                refused += 1
                await asyncio.sleep(0.5)

    async with Queue(url) as app:
        ids = await asyncio.gather(*(submit(app) for _ in range(jobs)))
        print(f"submitted {refused}", flush=True)

        async def check(job_id: str) -> None:
            assert len(await (await app.get(job_id))) == len(DATA)

        await asyncio.gather(*(check(job_id) for job_id in ids))


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, __file__, *arguments, stdout=subprocess.PIPE)


async def said(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    if not line:
        raise SystemExit("a producer failed")
    return line.strip()


def tell(what: str, began: float, broker: Child, folder: str) -> None:
    print(
        f"{what}: {time.perf_counter() - began:6.1f} s, the broker has {broker.usage().resident_bytes >> 20:,} MiB, "
        f"had {highest_bytes(broker.pid) >> 20:,} MiB at most, {processes.files_bytes(folder) >> 20:,} MiB on disk",
        flush=True,
    )


async def main(jobs: int, producers: int, workers: int) -> None:
    with tempfile.TemporaryDirectory(dir=os.getcwd()) as folder:
        async with processes.broker(folder) as (broker, url), AsyncExitStack() as stack:
            began = time.perf_counter()
            tell(f"{jobs:,} payloads of {len(DATA) / MIB:.4f} MiB by {producers} producers", began, broker, folder)
            running = [await start("produce", url, str(jobs // producers)) for _ in range(producers)]
            heard = await asyncio.gather(*(said(each) for each in running))
            tell(f"submitted ({sum(int(each.split()[1]) for each in heard)} refusals)", began, broker, folder)
            began = time.perf_counter()
            for _ in range(workers):
                arguments = ["-m", "aioqueue", "worker", "payloads:queue", "--url", url, "--log-level", "error"]
                worker = await asyncio.create_subprocess_exec(
                    sys.executable, *arguments, "--concurrency", str(CONCURRENCY),
                    env={**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])},
                )  # fmt: skip
                stack.push_async_callback(Child(worker).stop)
            codes = await asyncio.gather(*(each.wait() for each in running))
            if any(codes):
                raise SystemExit(f"producers failed: {codes}")
            tell("run and told", began, broker, folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["produce"]:
        asyncio.run(produce(sys.argv[2], int(sys.argv[3])))
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("jobs", type=int, nargs="?", default=2_000)
        parser.add_argument("producers", type=int, nargs="?", default=20)
        parser.add_argument("workers", type=int, nargs="?", default=2)
        options = parser.parse_args()
        asyncio.run(main(options.jobs, options.producers, options.workers))
