"""A process that owns a journal, for tests that kill it, starve it, or find it there. Speaks lines on its output."""

from __future__ import annotations

import asyncio
import resource
import signal
import sqlite3
import sys

from aioqueue.clock import SystemClock
from aioqueue.errors import AioqueueError
from aioqueue.journal.lock import OwnerLock
from aioqueue.journal.sqlite import SqliteJournal


def say(*words: object) -> None:
    print(*words, flush=True)


async def append(path: str, size: int) -> None:
    """Append until killed, telling each position once it is durable."""
    journal = await SqliteJournal.open(path, SystemClock())
    leadership = await journal.lead("child", 1)
    position = leadership.position
    while True:
        data = leadership.chain.encode(1, b"event", [bytes(size)])
        position = await journal.append(data, position)
        say(position, leadership.chain.previous.hex())


async def batches(path: str, *sizes: int) -> None:
    """Append one batch of each size, telling each position once it is durable; then wait for the input to end."""
    journal = await SqliteJournal.open(path, SystemClock())
    leadership = await journal.lead("child", 1)
    position = leadership.position
    say(position, leadership.chain.previous.hex())
    for size in sizes:
        data = leadership.chain.encode(1, b"event", [bytes([size % 251]) * size])
        position = await journal.append(data, position)
        say(position, leadership.chain.previous.hex())
    await asyncio.to_thread(sys.stdin.read)
    await journal.aclose()


async def hold(path: str) -> None:
    """Own the journal until the input ends."""
    journal = await SqliteJournal.open(path, SystemClock())
    say("open")
    await asyncio.to_thread(sys.stdin.read)
    await journal.aclose()
    say("closed")


async def starve(path: str, size: int, limit: int) -> None:
    """Append while no file may grow beyond `limit` bytes; tell the first error, and what every call says after it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    journal = await SqliteJournal.open(path, SystemClock())
    leadership = await journal.lead("child", 1)
    position = leadership.position
    data = b""
    try:
        while True:
            data = leadership.chain.encode(1, b"event", [bytes(size)])
            position = await journal.append(data, position)
            say("durable", position, leadership.chain.previous.hex())
    except AioqueueError as error:
        say("failed", error.code, error)
    for call in (journal.append(data, position), journal.lead("again", 2), journal.get(1, 0, 0), journal.trim(1)):
        try:
            await call
        except AioqueueError as error:
            say("then", error.code)
        else:
            say("then", "went on")
    await journal.aclose()
    say("closed")


def lock(path: str) -> None:
    """Hold only the lock."""
    OwnerLock.acquire(path, 1_700_000_000_000)
    say("locked")
    sys.stdin.read()


def foreign(path: str) -> None:
    """Hold the file as another SQLite program would."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    say("held")
    sys.stdin.read()


if __name__ == "__main__":
    what, where, *numbers = sys.argv[1:]
    if what in ("lock", "foreign"):
        {"lock": lock, "foreign": foreign}[what](where)
    else:
        asyncio.run(
            {"append": append, "batches": batches, "hold": hold, "starve": starve}[what](where, *map(int, numbers))
        )
