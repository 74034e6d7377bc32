"""Type checkers see what a task takes and gives: mypy reads `declarations.py` and must say what its comments say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("declarations.py")
ROOT = Path(__file__).parents[2]
_SAID = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): (?P<kind>error|note): (?P<text>.*)$")
_REVEALED = re.compile(r'^Revealed type is "(?P<type>.*)"$')
_MODULES = re.compile(r"\b(?:\w+\.)+(?=\w)")


@pytest.fixture(scope="module")
def said() -> list[tuple[int, str, str]]:
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(CASES.relative_to(ROOT))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr  # 0: not even the wrong lines were seen; 2: mypy failed
    found = [_SAID.match(line) for line in done.stdout.splitlines()]
    return [(int(match["line"]), match["kind"], match["text"]) for match in found if match]


def lines_marked(mark: str) -> dict[int, str]:
    marked = ((number, line.partition(mark)) for number, line in enumerate(CASES.read_text().splitlines(), 1))
    return {number: parts[2].strip() for number, parts in marked if parts[1] and number > 5}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_wrong_calls_are_errors_and_right_ones_are_not(said: list[tuple[int, str, str]]) -> None:
    errors = {line: text for line, kind, text in said if kind == "error"}
    assert sorted(errors) == sorted(lines_marked("  # E")), errors


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_results_have_the_type_that_the_task_gives(said: list[tuple[int, str, str]]) -> None:
    revealed = {line: match["type"] for line, _, text in said if (match := _REVEALED.match(text))}
    assert {line: _MODULES.sub("", kind) for line, kind in revealed.items()} == lines_marked("  # T: ")
