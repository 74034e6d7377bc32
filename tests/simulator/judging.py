"""What the tests of both simulators do with a world: play it, and say what to type where it broke a promise.

`simulate` is that of `tests.simulator.world` or of `tests.simulator.shells.world`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import pytest

from tests.simulator.checker import Violation
from tests.simulator.planted import Bug

Outcome = TypeVar("Outcome")


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


def random_seeds(seconds: float) -> Iterator[int]:
    """New ones for so long, and one at least."""
    first = seed = secrets.randbits(48)
    end = time.monotonic() + seconds
    while seed == first or time.monotonic() < end:
        yield seed
        seed += 1


def assert_found(bug: Bug, simulate: Callable[[int], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug breaks its promise in its world, which keeps every promise without it."""
    with monkeypatch.context() as patch:
        bug.plant(patch)
        with pytest.raises(Violation) as found:
            simulate(bug.seed)
    assert str(found.value).startswith(bug.promise + ":")
    assert simulate(bug.seed).jobs > 0
