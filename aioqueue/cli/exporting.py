"""Jobs with all their runs as JSON lines: the history, for programs that keep or count it elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TextIO

from aioqueue.cli.arguments import with_all_arguments
from aioqueue.cli.listing import Wanted
from aioqueue.cli.outcome import not_made, say
from aioqueue.client.asking import Questions
from aioqueue.client.documents import document, json_text
from aioqueue.client.info import JobInfo, friendly
from aioqueue.client.queue import Queue
from aioqueue.errors import AioqueueError, AlreadyThere, BadOption, JobNotFound, ResultExpired
from aioqueue.limits import ARGS_LISTED_BYTES_MAX
from aioqueue.model import views
from aioqueue.model.views import Run

_UNFINISHED: Final = ".unfinished"
# What a line does not have: its runs say more than attempts, and what a worker stands still in is of this
# moment only.
_LEFT_OUT: Final = ("attempts", "blocked", "deaf_at")


async def export_jobs(queue: Queue, wanted: Wanted, path: str, *, args_full: bool = False) -> None:
    """Write one line a job to the file at `path`, or to stdout where that is empty.

    The file is there when it is whole. Raises `AlreadyThere`, `BadOption` for a file that cannot be written, and what
    `Wanted.filter` raises.
    """
    where = wanted.filter()
    count = 0
    with _output(path) as file:
        async with queue:
            questions = queue.session().questions
            found = questions.pages(where, wanted.limit, runs=True, args_bytes=ARGS_LISTED_BYTES_MAX)
            async with aclosing(found) as pages:
                async for page in pages:
                    async for info, runs in _with_all_runs(questions, page.jobs, page.runs):
                        told = friendly(info)
                        if args_full:
                            told = await with_all_arguments(questions, told)
                        file.write(json_text(line(told, runs)) + "\n")
                        count += 1
    if path or not count:
        say(f"{count:,} job{'' if count == 1 else 's'} exported{f' to {path}' if path else ''}")


def line(info: JobInfo, runs: list[Run]) -> dict[str, Any]:
    """What one job's line says."""
    known: dict[str, Any] = document(info)
    for name in _LEFT_OUT:
        del known[name]
    return {**known, "history": document(runs)}


async def _with_all_runs(
    questions: Questions, infos: list[views.JobInfo], runs: list[list[Run]]
) -> AsyncIterator[tuple[views.JobInfo, list[Run]]]:
    """The jobs of a page; one with more runs than a page has room for is asked for by itself."""
    for info, told in zip(infos, runs, strict=True):
        if sum(run.generation == info.generation for run in told) < info.runs:
            # It may have been forgotten meanwhile.
            with suppress(JobNotFound, ResultExpired):
                told = list((await questions.history(info.id))[1])
        yield info, told


@contextmanager
def _output(path: str) -> Iterator[TextIO]:
    if not path:
        yield sys.stdout
        return
    if os.path.lexists(path):
        raise AlreadyThere(path=path)
    unfinished = path + _UNFINISHED
    try:
        with open(unfinished, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.rename(unfinished, path)
    except AioqueueError:
        # A broker that does not answer in time is an `OSError` too, as every `TimeoutError` is.
        raise
    except OSError as error:
        raise BadOption(option="out", value=path, reason=not_made(path, error)) from error
    finally:
        Path(unfinished).unlink(missing_ok=True)
