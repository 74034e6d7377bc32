"""The demo's picture: what a person sees of jobs that wait, run, fail and are done."""

from __future__ import annotations

from rich.console import Console

from aioqueue.demo.jobs import Made
from aioqueue.demo.progress import Progress
from aioqueue.demo.view import render
from aioqueue.demo.view import told as sentence
from aioqueue.model.views import Attempt, Failure
from tests.demo.conftest import Told

MADE = Made("cup-10.jpg", 10, 7, 1_234, 5, 4711)


def picture(progress: Progress, now_ms: int = 10_000) -> str:
    console = Console(width=120, color_system=None)
    with console.capture() as captured:
        console.print(render(progress, now_ms))
    return captured.get()


async def test_jobs_that_the_broker_has_not_told_of_count_as_ready(progress: Progress) -> None:
    assert progress.states() == {"ready": 3, "succeeded": 0}
    assert "0 of 3" in picture(progress)


async def test_a_result_counts_at_once_whatever_the_broker_said_before(progress: Progress, told: Told) -> None:
    first, second, _ = progress.wanted
    progress.told([told(first, "running"), told(second, "running")])
    progress.done[first] = MADE
    assert progress.states() == {"ready": 1, "running": 1, "succeeded": 1}
    assert [info.id for info in progress.in_state("running")] == [second]


async def test_jobs_of_somebody_else_are_not_counted(progress: Progress, told: Told) -> None:
    progress.told([told("00000000-0000-7000-8000-000000000000", "dead")])
    assert progress.states() == {"ready": 3, "succeeded": 0}


async def test_a_running_job_shows_its_photograph_worker_and_time_and_no_markup_is_obeyed(
    progress: Progress, told: Told
) -> None:
    first = next(iter(progress.wanted))
    progress.told([told(first, "running", worker="host:1/2", started_ms=7_900)])
    line = next(line for line in picture(progress).splitlines() if "host:1/2" in line)
    assert line.split() == ["10", "px", "of", "cat[bold].png", "host:1/2", "2s"]


async def test_a_job_that_waits_for_its_retry_says_why_and_how_long(progress: Progress, told: Told) -> None:
    first = next(iter(progress.wanted))
    failure = Failure("OutOfPaper", "none\nleft")
    info = told(first, "scheduled", failures=2, due_ms=11_500, failure=failure)
    expected = "the 10 px of cat[bold].png failed twice, last with OutOfPaper: none\\nleft; again in 1.5 s"
    assert sentence(progress, info, 10_000) == expected
    progress.told([info])
    assert expected in picture(progress)


async def test_a_job_that_succeeded_after_failures_says_at_which_attempt(progress: Progress, told: Told) -> None:
    first = next(iter(progress.wanted))
    progress.done[first] = MADE
    ends = (Attempt(1, "failed", 1, 2, "host:1/2", Failure("OutOfPaper", "none")), Attempt(2, "succeeded", 3, 4, "w"))
    info = told(first, "succeeded", failures=1, attempts=ends)
    assert sentence(progress, info, 0).endswith("failed once, last with OutOfPaper: none; it succeeded at attempt 2")


async def test_the_same_progress_gives_the_same_picture(progress: Progress) -> None:
    assert picture(progress) == picture(progress)
