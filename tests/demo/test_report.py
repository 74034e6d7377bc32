"""The demo's end, as a table and as a document."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from aioqueue.demo.jobs import Made
from aioqueue.demo.progress import Progress
from aioqueue.demo.report import Report
from aioqueue.model.views import Attempt, Failure
from tests.demo.conftest import Told


def finished(progress: Progress, told: Told) -> Report:
    for number, id in enumerate(progress.wanted):
        progress.done[id] = Made(f"{number}.jpg", 10, 7, 1_000, 5, 4711 + number % 2)
        progress.told([told(id, "succeeded")])
    failed = Attempt(1, "failed", 1, 2, "w", Failure("OutOfPaper", "none"))
    progress.told([told(next(iter(progress.wanted)), "succeeded", failures=1, attempts=(failed,))])
    progress.elapsed_ms = 2_500
    return Report(Path("/out"), progress)


async def test_each_file_has_its_job_photograph_process_and_attempts(progress: Progress, told: Told) -> None:
    document = finished(progress, told).document()
    first = next(iter(progress.wanted))
    assert document["files"][0] == {
        "job": first, "photo": "cat[bold].png", "file": "0.jpg", "width": 10, "height": 7, "bytes": 1_000, "ms": 5,
        "process": 4711, "attempts": 2,
    }  # fmt: skip
    assert [file["attempts"] for file in document["files"]] == [2, 1, 1]
    assert document["processes"] == [4711, 4712]
    assert document["retried"] == [{"job": first, "attempts": 2, "errors": ["OutOfPaper: none"]}]


async def test_the_table_has_a_row_for_each_photograph_and_says_where_the_files_are(
    progress: Progress, told: Told
) -> None:
    console = Console(width=120, color_system=None)
    with console.capture() as captured:
        console.print(finished(progress, told).table())
    text = captured.get()
    rows = [line.split() for line in text.splitlines() if ".png" in line and "failed" not in line]
    assert rows[0] == ["cat[bold].png", "10x7", "1,000", "5", "4711"]
    assert len(rows) == 3
    assert "3 files in 2.5 s, in /out/pictures" in text
    assert "it succeeded at attempt 2" in text
