"""What the tests of both simulators do with a world: play it, and say what to type where it broke a promise.

`simulate` is that of `tests.simulator.world` or of `tests.simulator.shells.world`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from tests.simulator.checker import Violation
from tests.simulator.planted import Bug

Outcome = TypeVar("Outcome")

ROOT: Final = Path(__file__).parents[2]
# What a world depends on, beside its seed.
SOURCES: Final = ("aioqueue", "tests/simulator", "tests/support")


def judge(simulate: Callable[[int], Outcome], seeds: Iterable[int], *, level: int) -> list[Outcome]:
    """What became of each world; a broken promise fails the test."""
    outcomes = []
    for seed in seeds:
        try:
            outcomes.append(simulate(seed))
        except Violation as violation:
            again = f"python -m tests.simulator --level {level} --seed {seed} -v"
            pytest.fail(f"seed {seed} broke a promise: {violation}\n    {again}")
    return outcomes


def new_worlds(usual: int) -> int:
    """How many worlds nobody has seen before are played: `usual`, times `AIOQUEUE_SIM_WORLDS` if that is set."""
    return max(1, round(usual * float(os.environ.get("AIOQUEUE_SIM_WORLDS", "1"))))


def new_seeds(worlds: int, part: int = 0) -> range:
    """Seeds that every change of the program makes new, and that are the same wherever the same program is tested.

    So a change meets worlds that nobody chose, and a failure is there again for whoever looks into it.
    """
    first = _digest() + part * worlds
    return range(first, first + worlds)


@cache
def _digest() -> int:
    digest = blake2b(digest_size=6)
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return int.from_bytes(digest.digest(), "big")


def assert_found(bug: Bug, simulate: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug breaks its promise in its world, which keeps every promise without it."""
    with monkeypatch.context() as patch:
        bug.plant(patch)
        with pytest.raises(Violation) as found:
            simulate(bug.seed)
    assert str(found.value).startswith(bug.promise + ":")
    assert simulate(bug.seed).jobs > 0
