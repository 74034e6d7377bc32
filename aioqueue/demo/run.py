"""The demo from its first process to its last file."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from aioqueue.clock import Clock, SystemClock
from aioqueue.demo.jobs import print_black_and_white, queue, resize, thumbnail
from aioqueue.demo.processes import Child, broker, workers
from aioqueue.demo.progress import Progress, Wanted
from aioqueue.demo.report import Report
from aioqueue.demo.screens import Screen, screen_for
from aioqueue.errors import BadOption

# All smaller than the smallest photograph.
WIDTHS: Final = (360, 240, 120)
# How often the broker is asked and the picture drawn. Results are not waited for this way: they come by themselves.
_DRAW_SECONDS: Final = 0.2


async def run_demo(photos: Sequence[Path], out: Path | None, processes: int, console: Console) -> Report:
    """Start a broker and workers, have every photograph resized, tell how it goes, and stop them again.

    `out` is where the pictures and the journal go, None for a new folder of its own. Raises `BadOption` for a folder
    that cannot be made, `BrokerUnavailable` if a process ends, and what `Job.result` raises.
    """
    folder = _folder(out)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        serving, url = await stack.enter_async_context(broker(folder))
        working = await stack.enter_async_context(workers(folder, url, processes))
        queue.url = url
        queue.worker = False
        await stack.enter_async_context(queue)
        wanted = await _submit(photos, folder / "pictures")
        progress = Progress(url, processes, {one.job.id: one for one in wanted})
        with screen_for(console, progress) as screen:
            await _Watch(progress, screen, clock).until_done([serving, working])
    return Report(folder, progress)


def _folder(out: Path | None) -> Path:
    try:
        folder = Path(tempfile.mkdtemp(prefix="aioqueue-demo-")) if out is None else out.resolve()
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadOption(option="out", value=str(out), reason=error.strerror or str(error)) from None
    return folder


async def _submit(photos: Sequence[Path], pictures: Path) -> list[Wanted]:
    """All jobs at once, so that none is there without the others."""
    # The one that fails comes first: others run while it waits for its next attempt.
    plans = [(photos[-1], "print", print_black_and_white.call(photos[-1], pictures))]
    plans += [
        plan
        for photo in photos
        for plan in (
            *((photo, f"{width} px", resize.call(photo, width, pictures)) for width in WIDTHS),
            (photo, "thumbnail", thumbnail.call(photo, pictures)),
        )
    ]
    jobs = await queue.submit_many(call for _, _, call in plans)
    return [Wanted(photo, what, job) for (photo, what, _), job in zip(plans, jobs, strict=True)]


class _Watch:
    """Takes results as they come, and the broker's word now and then, and draws both."""

    def __init__(self, progress: Progress, screen: Screen, clock: Clock) -> None:
        self._progress = progress
        self._screen = screen
        self._clock = clock
        self._began_ms = clock.now().mono_ms

    async def until_done(self, children: Sequence[Child]) -> None:
        """Until every job has its result; raises if one has none, or if one of the processes ends."""
        results = asyncio.gather(*map(self._take, self._progress.wanted.values()))
        others = [asyncio.create_task(child.ended()) for child in children]
        others.append(asyncio.create_task(self._keep_drawing()))
        everything: list[asyncio.Future[Any]] = [results, *others]
        try:
            ended, _ = await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
            for one in ended:
                one.result()
            await self._draw()
        finally:
            for one in everything:
                one.cancel()
            await asyncio.gather(*everything, return_exceptions=True)

    async def _take(self, wanted: Wanted) -> None:
        made = await wanted.job
        self._progress.done[wanted.job.id] = made
        self._screen.made(wanted, made)

    async def _keep_drawing(self) -> None:
        while True:
            await self._draw()
            await asyncio.sleep(_DRAW_SECONDS)

    async def _draw(self) -> None:
        progress = self._progress
        progress.told([info async for info in queue.find()])
        for info in progress.retried():
            # Only the answer about a single job has its attempts.
            progress.told([await progress.wanted[info.id].job.info()])
        now = self._clock.now()
        progress.elapsed_ms = now.mono_ms - self._began_ms
        self._screen.draw(now.wall_ms)
