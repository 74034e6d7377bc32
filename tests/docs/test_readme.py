"""README: its two commands stand first, and its program runs as printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.docs.conftest import blocks
from tests.support.commands import ROOT, environment

README = ROOT / "README.md"


def test_the_first_two_sh_blocks_are_the_demo_and_the_tests() -> None:
    demo, tests, *_ = blocks(README, "sh")
    assert demo.text.strip().endswith("aioqueue demo")
    assert tests.text.strip().endswith("-m pytest")
    for block in (demo, tests):
        assert "venv" in block.text
        assert len(block.text.splitlines()) == 1


def test_the_program_is_of_twenty_lines_at_most_and_runs_as_it_is_printed(tmp_path: Path) -> None:
    [program] = blocks(README, "python")
    assert program.text == (ROOT / "examples" / "hello.py").read_text()
    assert len(program.text.splitlines()) <= 20
    (tmp_path / "hello.py").write_text(program.text)
    ended = subprocess.run(
        [sys.executable, "hello.py"], check=True, cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert ended.stdout.endswith(" Hello, Ada!\n")
    assert ended.stderr == ""


def test_what_it_is_takes_three_sentences() -> None:
    first = README.read_text().split("\n\n")[1]
    assert first.replace("\n", " ").count(". ") + first.endswith(".") == 3
