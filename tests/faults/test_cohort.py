"""A suicide among innocents, in real processes: it runs three times and is dead, and all others succeed."""

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

from aioqueue import Context, Queue

queue = Queue()
begun = 0
all_begun = asyncio.Event()


@queue.task(name="innocent")
async def innocent(context: Context, number: int) -> int:
    global begun
    if context.crashes == 0:
        # The first process has all of them in hand when it ends.
        begun += 1
        if begun == {INNOCENTS}:
            all_begun.set()
        await asyncio.Event().wait()
    return number


@queue.task(name="suicide")
async def suicide(context: Context) -> None:
    with Path("deaths").open("a") as deaths:
        deaths.write(f"{{context.crashes}}\\n")
    if context.crashes == 0:
        await all_begun.wait()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_suicide_runs_three_times_and_its_ninety_nine_neighbours_succeed(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP)
    with serving(tmp_path) as served, working(served, "--concurrency", "100"):
        async with Queue(served.url) as queue:
            suicide = await queue.submit("suicide")
            innocents = [await queue.submit("innocent", number) for number in range(INNOCENTS)]
            results = await asyncio.gather(*(job.result() for job in innocents))
            with pytest.raises(JobFailed, match="ended without a word each time"):
                await suicide.result()
            end = await suicide.info()
    assert results == list(range(INNOCENTS))
    assert (end.state, end.runs, end.crashes, end.failures) == ("dead", 3, 3, 0)
    assert (tmp_path / "deaths").read_text().splitlines() == ["0", "1", "2"]
