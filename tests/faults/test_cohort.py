"""Suicides among innocents, in real processes: each runs three times and is dead, and all others succeed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aioqueue import JobFailed, Queue
from tests.support.commands import serving, working

INNOCENTS = 99
APP = f"""
import asyncio, os, signal
from pathlib import Path

from aioqueue import Context, JobFailed, Queue

queue = Queue()
begun = 0
all_begun = asyncio.Event()


def begin() -> None:
    # The first process has all of them in hand when it ends: the innocents, and the child of the parent.
    global begun
    begun += 1
    if begun == {INNOCENTS + 1}:
        all_begun.set()


@queue.task(name="innocent")
async def innocent(context: Context, number: int) -> int:
    if context.crashes == 0:
        begin()
        await asyncio.Event().wait()
    return number


@queue.task(name="suicide")
async def suicide(context: Context, name: str) -> None:
    with Path("deaths").open("a") as deaths:
        deaths.write(f"{{name}} {{context.crashes}}\\n")
    if context.crashes == 0:
        if name == "child":
            begin()
        await all_begun.wait()
    os.kill(os.getpid(), signal.SIGKILL)


@queue.task(name="parent")
async def parent(context: Context) -> str:
    child = await context.submit(suicide, "child")
    try:
        await child
    except JobFailed as failed:
        return str(failed)
    return "the child lives"
"""


@pytest.mark.slow
async def test_a_suicide_runs_three_times_and_its_neighbours_and_its_parent_succeed(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP)
    with serving(tmp_path) as served, working(served, "--concurrency", "102"):
        async with Queue(served.url) as queue:
            suicide = await queue.submit("suicide", "stranger")
            parent = await queue.submit("parent")
            innocents = [await queue.submit("innocent", number) for number in range(INNOCENTS)]
            results = await asyncio.gather(*(job.result() for job in innocents))
            with pytest.raises(JobFailed, match="ended without a word each time"):
                await suicide.result()
            end = await suicide.info()
            told = await parent.result()
            survivor = await parent.info()
    assert results == list(range(INNOCENTS))
    assert (end.state, end.runs, end.crashes, end.failures) == ("dead", 3, 3, 0)
    assert "ended without a word each time" in told
    assert survivor.crashes == 1
    deaths = sorted((tmp_path / "deaths").read_text().splitlines())
    assert deaths == ["child 0", "child 1", "child 2", "stranger 0", "stranger 1", "stranger 2"]
