"""Type checkers see what a task takes and gives: each reads `declarations.py` and must say what its comments say."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple, get_overloads

import pytest

from aioqueue.client.declare import Declares
from aioqueue.client.options import TaskOptions

CASES = Path(__file__).with_name("declarations.py")
ROOT = Path(__file__).parents[2]
_LINE = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): (?P<kind>error|note): (?P<text>.*)$")
_REVEALED = re.compile(r'^(?:Revealed type is|Type of ".*" is) "(?P<type>.*)"$', re.DOTALL)
_MODULES = re.compile(r"\b(?:\w+\.)+(?=\w)")
# Where the names of `aioqueue` live, and all that they lead to on this side.
_FACE = ("aioqueue.client.", "aioqueue.errors.", "aioqueue.worker.worker.", "aioqueue.model.states.")
# The first lines tell of the marks and have none.
_PROSE = 6

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Said(NamedTuple):
    """What a checker says: by line, the texts of its errors and the types it reveals."""

    errors: dict[int, str]
    revealed: dict[int, str]


def mypy_says() -> Said:
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(CASES.relative_to(ROOT))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr  # 0: not even the wrong lines were seen; 2: mypy failed
    found = [match for line in done.stdout.splitlines() if (match := _LINE.match(line))]
    return _sorted([(int(match["line"]), match["kind"], match["text"]) for match in found])


def pyright() -> str:
    """The program; it is a package of the extra `dev`, and needs Node."""
    beside = shutil.which("pyright", path=str(Path(sys.executable).parent)) or shutil.which("pyright")
    if beside is None:
        pytest.skip("NOT CHECKED BY PYRIGHT: it is not installed; run pip install '.[dev]' in a checkout")
    asked = subprocess.run([beside, "--version"], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        pytest.skip(f"NOT CHECKED BY PYRIGHT: it does not run here, for it needs Node: {asked.stderr[-300:]}")
    return beside


def pyright_says(program: str) -> Said:
    command = [program, "--outputjson", "--pythonpath", sys.executable, str(CASES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found: list[dict[str, Any]] = json.loads(done.stdout)["generalDiagnostics"]
    return _sorted([(one["range"]["start"]["line"] + 1, one["severity"], one["message"]) for one in found])


def _sorted(said: list[tuple[int, str, str]]) -> Said:
    errors: dict[int, str] = defaultdict(str)
    revealed: dict[int, str] = {}
    for line, kind, text in said:
        if match := _REVEALED.match(text):
            revealed[line] = _MODULES.sub("", match["type"]).replace('"', "'")
        elif kind == "error":
            errors[line] += text + "\n"
    return Said(dict(errors), revealed)


@pytest.fixture(scope="module", params=["pyright", "mypy"])
def checker(request: pytest.FixtureRequest) -> tuple[str, Said]:
    return request.param, pyright_says(pyright()) if request.param == "pyright" else mypy_says()


def lines_marked(mark: str) -> dict[int, str]:
    marked = ((number, line.partition(mark)) for number, line in enumerate(CASES.read_text().splitlines(), 1))
    return {number: parts[2].strip() for number, parts in marked if parts[1] and number > _PROSE}


def test_wrong_calls_are_errors_and_right_ones_are_not(checker: tuple[str, Said]) -> None:
    _, said = checker
    assert sorted(said.errors) == sorted(lines_marked("  # E")), said.errors


def test_an_error_names_what_is_wrong(checker: tuple[str, Said]) -> None:
    name, said = checker
    for line, words in lines_marked("  # E: ").items():
        assert words.split(" | ")[name == "mypy"] in said.errors[line], line


def test_results_have_the_type_that_the_task_gives(checker: tuple[str, Said]) -> None:
    _, said = checker
    assert said.revealed == lines_marked("  # T: ")


def test_what_an_app_imports_is_typed_completely() -> None:
    program = pyright()
    # It looks for packages by the Python that it finds first.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [program, "--ignoreexternal", "--outputjson", "--verifytypes", "aioqueue"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    symbols: list[dict[str, Any]] = json.loads(done.stdout)["typeCompleteness"]["symbols"]
    assert "aioqueue.client.queue.Queue.submit" in {one["name"] for one in symbols}
    wanting = [one["name"] for one in symbols if one["isExported"] and not one["isTypeKnown"]]
    assert [name for name in wanting if name.startswith(_FACE)] == []


def test_the_options_that_checkers_name_one_by_one_are_those_of_a_task() -> None:
    # The last overload says them once more, since no checker names an unknown one of a TypedDict among overloads.
    told = get_overloads(Declares.task)[-1].__annotations__
    options = {name: kind for name, kind in told.items() if name not in ("fn", "unknown", "return")}
    assert options == {name: kind.__forward_arg__ for name, kind in TaskOptions.__annotations__.items()}
