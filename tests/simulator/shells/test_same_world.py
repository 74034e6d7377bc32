"""The same seed gives the same world: whatever was played before, whichever process plays it, wherever objects lie."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulator.__main__ import played
from tests.simulator.checker import Violation
from tests.simulator.shells.loop import VirtualLoop
from tests.simulator.shells.planted import BUGS

# A seed whose broker cuts its log, and a bug that breaks the world of another.
CUTTING = 1_005
BUG = next(bug for bug in BUGS if bug.promise == "I7")
_GOLDEN = 0x9E3779B97F4A7C15


def told(seed: int, bug: str = "") -> list[str]:
    """All that is told of a world, with the digest of it and of its journal last."""
    lines: list[str] = []
    try:
        lines.append(f"digest={played(2, seed, bug, lines.append).digest!r}")
    except Violation as violation:
        lines.append(str(violation))
    return lines


def test_a_world_is_the_same_after_others() -> None:
    first = told(2)
    assert told(BUG.seed, BUG.name)[-1].startswith(f"{BUG.promise}:")
    assert told(CUTTING)[-1].startswith("digest=")
    assert told(2) == first
    assert len(first) > 100


def test_another_process_elsewhere_plays_the_same_world(tmp_path: Path) -> None:
    """Nothing depends on how a process hashes text, where its code lies, or what this one has done before."""
    root = Path(__file__).parents[3]
    for room in ("aioqueue", "tests"):
        (tmp_path / room).symlink_to(root / room)
    command = [sys.executable, "-m", "tests.simulator", "--level", "2", "--seed", "3", "-v"]
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(tmp_path)}
    other = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    *lines, outcome = other.splitlines()
    *ours, digest = told(3)
    assert lines == ours
    assert digest in outcome


def scatter(patch: pytest.MonkeyPatch, key: int) -> None:
    """Let objects have hashes as if they lay elsewhere, so that sets of them have another order."""

    def scattered(self: object) -> int:
        return ((id(self) >> 4) * _GOLDEN ^ key * _GOLDEN >> 7) % (1 << 61)

    tasks = type("Task", (asyncio.Task,), {"__hash__": scattered})
    futures = type("Future", (asyncio.Future,), {"__hash__": scattered})
    patch.setattr(VirtualLoop, "create_future", lambda self: futures(loop=self))
    patch.setattr(VirtualLoop, "create_task", lambda self, work, **options: tasks(work, loop=self, **options))
    rooms = ("aioqueue", "anyio", "asyncio", "tests.simulator")
    modules = [module for name, module in sys.modules.items() if name.startswith(rooms)]
    for kind in {each for module in modules for each in vars(module).values() if isinstance(each, type)}:
        if kind.__module__.startswith(rooms) and kind.__hash__ is object.__hash__:
            patch.setattr(kind, "__hash__", scattered)


def test_a_world_is_the_same_wherever_its_objects_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the world of this seed the order of the tasks of a task group would decide, if it were that of a set."""
    worlds = []
    for key in (1, 2):
        with monkeypatch.context() as patch:
            scatter(patch, key)
            worlds.append(told(11))
    assert worlds[0] == worlds[1]
