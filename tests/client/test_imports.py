"""What a program that only submits over TCP loads."""

from __future__ import annotations

import subprocess
import sys

PRODUCER = """
import asyncio, sys
import aioqueue
from aioqueue import Queue, Task, Job, Call, Retry, Context

queue = Queue("tcp://127.0.0.1:1")

@queue.task
async def send(number: int) -> int:
    return number

async def main():
    try:
        async with asyncio.timeout(0.05):
            await queue.__aenter__()
    except TimeoutError:
        pass

asyncio.run(main())
heavy = ("sqlite3", "aiosqlite", "aioqueue.worker", "aioqueue.embedded", "aioqueue.broker", "aioqueue.journal",
         "aioqueue.archive", "aioqueue.core", "rich", "typer")
print([name for name in heavy if name in sys.modules])
"""


def run(program: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=90
    ).stdout.strip()


def test_a_producer_over_tcp_loads_neither_storage_nor_worker() -> None:
    assert run(PRODUCER) == "[]"


def test_the_worker_is_there_when_it_is_asked_for() -> None:
    assert run("import aioqueue; print(aioqueue.Worker.__name__)") == "Worker"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    assert run("import aioqueue; print(hasattr(aioqueue, 'Celery'))") == "False"


def test_every_public_name_exists() -> None:
    assert run("import aioqueue; print([n for n in aioqueue.__all__ if not hasattr(aioqueue, n)])") == "[]"


def test_every_error_is_public() -> None:
    program = (
        "import aioqueue; from aioqueue import errors; "
        "print([n for n, k in vars(errors).items() if isinstance(k, type) and k.__module__ == 'aioqueue.errors' "
        "and n not in aioqueue.__all__])"
    )
    assert run(program) == "[]"
