"""`aioqueue demo` as a person runs it: real processes, a real port, a real journal, real photographs."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from tests.support.commands import COMMAND, PATIENCE_SECONDS, environment, run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "made" / "here"


@pytest.fixture(scope="module")
def document(out: Path) -> dict[str, Any]:
    """The report of one whole demo."""
    ended = run("demo", "--out", str(out), "--json", cwd=out.parent.parent)
    assert (ended.code, ended.err) == (0, "")
    found: dict[str, Any] = ended.json
    return found


def test_every_file_is_a_picture_of_the_size_that_the_report_says(document: dict[str, Any], out: Path) -> None:
    assert len(document["files"]) == document["jobs"] == 57
    for file in document["files"]:
        path = out / "pictures" / file["file"]
        with Image.open(path) as image:
            image.load()
            assert (image.format, image.width, image.height) == ("JPEG", file["width"], file["height"])
        assert path.stat().st_size == file["bytes"]


def test_one_job_fails_twice_and_succeeds_at_its_third_attempt(document: dict[str, Any]) -> None:
    [retried] = document["retried"]
    assert retried["attempts"] == 3
    assert len(retried["errors"]) == 2
    assert [file["attempts"] for file in document["files"] if file["job"] == retried["job"]] == [3]


def test_the_journal_is_whole_and_knows_every_job_when_all_processes_are_gone(document: dict[str, Any]) -> None:
    journal = document["journal"]
    assert run("check", journal, "--json", cwd=Path(journal).parent).json["ok"]
    jobs = run("ls", "--url", f"sqlite:{journal}", "--json", "--all", cwd=Path(journal).parent).json
    # And those of another demo, where one was made here before.
    assert {job["id"] for job in jobs} >= {file["job"] for file in document["files"]}
    assert {job["state"] for job in jobs} == {"succeeded"}
    assert not any(psutil.pid_exists(process) for process in document["processes"])


def test_a_second_demo_in_the_same_folder_reports_its_own_jobs_only(document: dict[str, Any], out: Path) -> None:
    again = run("demo", "--out", str(out), "--json", "--processes", "1", cwd=out).json
    assert again["jobs"] == 57
    assert not {file["job"] for file in document["files"]} & {file["job"] for file in again["files"]}
    assert len(again["processes"]) == 1


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "option out=" in run("demo", "--out", "file", cwd=tmp_path).refused()


@contextmanager
def under_way(folder: Path) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A demo whose workers have done a job, and all processes that it started."""
    with (folder / "err").open("w") as errors:
        process = subprocess.Popen(
            [*COMMAND, "demo", "--out", str(folder)],
            cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    with process:
        assert process.stdout is not None
        try:
            assert any(line.startswith("1/57 ") for line in process.stdout)
            yield process, psutil.Process(process.pid).children(recursive=True)
        finally:
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_process_behind_and_no_traceback(number: signal.Signals, code: int, tmp_path: Path) -> None:
    with under_way(tmp_path) as (process, children):
        # The broker, the workers' supervisor, and its two workers.
        assert len(children) == 4
        process.send_signal(number)
        process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == code
        assert psutil.wait_procs(children, timeout=PATIENCE_SECONDS)[1] == []
    assert (tmp_path / "err").read_text() == ""


@pytest.mark.faults
def test_a_broker_that_dies_ends_the_demo_with_one_sentence(tmp_path: Path) -> None:
    with under_way(tmp_path) as (process, children):
        next(child for child in children if "serve" in child.cmdline()).kill()
        process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 1
        assert psutil.wait_procs(children, timeout=PATIENCE_SECONDS)[1] == []
    [line] = (tmp_path / "err").read_text().splitlines()
    assert line.startswith("aioqueue: the demo's broker ended")


def test_on_a_terminal_the_picture_is_drawn_until_the_table_comes(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "demo", "--out", str(tmp_path)],
        cwd=tmp_path, env=environment(TERM="xterm-256color", COLUMNS="120", LINES="40"),
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    with process:
        text = _everything(ours)
    assert process.returncode == 0
    assert "running now" in text
    assert "57 of 57" in text
    assert text.index("57 of 57") < text.index("57 files in ")


def _everything(descriptor: int) -> str:
    """What is written to a terminal until its last writer is gone."""
    parts = []
    while True:
        try:
            part = os.read(descriptor, 65_536)
        except OSError:
            part = b""
        if not part:
            os.close(descriptor)
            return b"".join(parts).decode()
        parts.append(part)
