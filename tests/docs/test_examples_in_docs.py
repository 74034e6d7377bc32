"""The documents' Python blocks, run as they are printed; those of one page are one program, with `await` at its top."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest
import typer

from aioqueue.cli.app import app
from tests.docs.conftest import PAGES, Block, blocks, name_of
from tests.support.commands import ROOT, environment

WITH_PYTHON = [page for page in (ROOT / "docs").rglob("*.md") if blocks(page, "python")]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
WITH_COMMANDS = [page for page in PAGES if any("aioqueue " in block.text for block in blocks(page, "sh"))]


def compiled(page: Path, block: Block) -> CodeType:
    """The block, so that a traceback shows the line of the page."""
    text = "\n" * (block.line - 1) + block.text
    code: CodeType = compile(text, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return code


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
async def test_the_examples_of_a_page_do_what_they_say(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AIOQUEUE_URL", raising=False)
    module = ModuleType("page")
    async with asyncio.timeout(100):
        for block in blocks(page, "python"):
            ended = FunctionType(compiled(page, block), vars(module))()
            if inspect.iscoroutine(ended):
                await ended


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_the_examples_of_a_page_can_be_pasted_into_a_console(page: Path, tmp_path: Path) -> None:
    """A console takes an empty line for the end of whatever is indented, and knows no line of source again."""
    # Typed after the last line, so that nobody reads on.
    pasted = "".join(f"{block.text}\n\n" for block in blocks(page, "python")) + "print('pasted')\n"
    ended = subprocess.run(
        [sys.executable, "-m", "asyncio"], check=False, input=pasted, cwd=tmp_path, env=environment(), text=True,
        capture_output=True, timeout=120,
    )  # fmt: skip
    shown = [line for line in ended.stderr.splitlines() if "Traceback" in line or line.lstrip().startswith("SyntaxErr")]
    assert shown == [], ended.stderr
    assert "pasted" in ended.stdout


def test_a_wrong_example_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("text\n\n```python\nassert 1 == 2\n```\n")
    [block] = blocks(page, "python")
    with pytest.raises(AssertionError) as failed:
        FunctionType(compiled(page, block), {})()
    assert failed.traceback[-1].lineno == 3


def commands_in(page: Path) -> list[list[str]]:
    lines = (line for block in blocks(page, "sh") for line in block.text.splitlines())
    found = (re.search(r"(?:^|/|\s)aioqueue ([^#&|]*)", line) for line in lines)
    return [match[1].split() for match in found if match]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_every_command_of_a_page_is_one_and_knows_its_options(page: Path) -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    found = commands_in(page)
    assert found
    for name, *words in found:
        assert name in commands
        known = {option for parameter in commands[name].params for option in parameter.opts} | {"--help"}
        assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_systemd_unit_runs_a_command_that_the_app_cannot_lead_elsewhere(unit: Path) -> None:
    [words] = re.findall(r"^ExecStart=\S+/aioqueue (.*)$", unit.read_text(), re.MULTILINE)
    name, *options = words.split()
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    parameters = command.make_context(name, options).params
    assert name == "serve" or parameters["url"].startswith("tcp://")
    assert "AIOQUEUE_URL=" not in unit.read_text()


def test_pages_with_examples_were_found() -> None:
    assert len(WITH_PYTHON) >= 8
    assert ROOT / "README.md" in WITH_COMMANDS
    assert {unit.stem for unit in UNITS} == {"aioqueue-broker", "aioqueue-worker"}
