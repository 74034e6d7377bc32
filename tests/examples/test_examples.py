"""Every example does what it says, run as a user runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aioqueue.demo.photographs import photographs
from tests.support.commands import COMMAND, PATIENCE_SECONDS, ROOT, environment, run, serving

EXAMPLES = ROOT / "examples"
TESTED = {"hello.py", "retries.py", "embedded_web.py", "photos/jobs.py", "photos/submit.py"}


def python(*words: str, cwd: Path, **changes: str) -> list[str]:
    """Run a program to its end; the lines it printed."""
    ended = subprocess.run(
        [sys.executable, *words],
        check=False, cwd=cwd, env=environment(**changes), capture_output=True, text=True, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout.splitlines()


def test_every_example_is_run_here_and_listed() -> None:
    programs = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py")}
    assert programs == TESTED
    listed = set(re.findall(r"^\| `([^`]+)`", (EXAMPLES / "README.md").read_text(), re.MULTILINE))
    assert listed == {name if "/" not in name else name.split("/")[0] + "/" for name in TESTED}


def test_hello_keeps_its_job_in_a_file_that_a_shell_can_ask(tmp_path: Path) -> None:
    [line] = python(str(EXAMPLES / "hello.py"), cwd=tmp_path)
    job, _, greeting = line.partition(" ")
    assert greeting == "Hello, Ada!"
    shown = run("show", job, "--url", "sqlite:hello.db", "--json", cwd=tmp_path).json
    assert (shown["task"], shown["state"], shown["result"]) == ("hello.greet", "succeeded", "Hello, Ada!")


def test_retries_end_as_they_are_told(tmp_path: Path) -> None:
    assert python(str(EXAMPLES / "retries.py"), cwd=tmp_path) == [
        "delivered to ada@example.com at attempt 3",
        "WrongAddress is not tried again: nowhere",
        "dead after one attempt: out of stock",
        "brought back by hand, 4 left",
    ]


@contextmanager
def web(cwd: Path) -> Iterator[str]:
    words = [sys.executable, str(EXAMPLES / "embedded_web.py"), "0"]
    with subprocess.Popen(words, cwd=cwd, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


# No proxy that the environment names: it could not reach this machine.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str) -> tuple[int, Any]:
    try:
        with OPENER.open(url, timeout=PATIENCE_SECONDS) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_web_server_answers_at_once_and_does_not_forget_when_it_is_killed(tmp_path: Path) -> None:
    with web(tmp_path) as url:
        status, accepted = get(f"{url}/count/abc-def")
        assert status == 202
        assert get(f"{url}/jobs/nonsense")[0] == 404
    with web(tmp_path) as url:
        # The job was acknowledged, so a killed server owes it still.
        found: dict[str, Any] = {}
        while found.get("state") != "succeeded":
            status, found = get(f"{url}/jobs/{accepted['id']}")
            assert status == 200
        assert found == {"id": accepted["id"], "state": "succeeded", "result": 6}


def check_pictures(lines: list[str], folder: Path) -> None:
    *made, summary = lines
    assert summary == "9 pictures; the print took 3 attempts"
    assert len(made) == 9
    for line in made:
        name, _, size = line.partition(" ")
        with Image.open(folder / name) as image:
            assert f"{image.width}x{image.height}" == size


@pytest.fixture
def photos() -> list[str]:
    return [str(path) for path in photographs()[:2]]


def test_photos_are_resized_in_the_process_that_submits_them(tmp_path: Path, photos: list[str]) -> None:
    lines = python(str(EXAMPLES / "photos" / "submit.py"), "out", *photos, cwd=tmp_path, AIOQUEUE_URL="memory:")
    check_pictures(lines, tmp_path / "out")


def test_photos_are_resized_by_workers_in_other_processes(tmp_path: Path, photos: list[str]) -> None:
    folder = EXAMPLES / "photos"
    with serving(tmp_path) as served:
        words = [*COMMAND, "worker", "jobs:queue", "--url", served.url, "--processes", "2", "--log-level", "error"]
        with subprocess.Popen(words, cwd=folder, env=environment()) as worker:
            try:
                lines = python("submit.py", str(tmp_path / "out"), *photos, cwd=folder, AIOQUEUE_URL=served.url)
            finally:
                worker.terminate()
        check_pictures(lines, tmp_path / "out")
        jobs = run("ls", "--url", served.url, "--json", cwd=tmp_path).json
        assert {job["task"] for job in jobs} == {"jobs.resize", "jobs.thumbnail", "jobs.print_it"}
