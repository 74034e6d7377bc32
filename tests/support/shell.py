"""Command lines run inside the process of the tests."""

from __future__ import annotations

import pytest

from aioqueue.cli.app import run
from tests.support.commands import Ended


class Shell:
    """Runs command lines inside this process: the same, without the half second that a process takes to begin."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *words: str) -> Ended:
        self._capsys.readouterr()
        code = run(words)
        out, err = self._capsys.readouterr()
        return Ended(code, out, err)
