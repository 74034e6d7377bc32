"""Digests of worlds: the same for the same program, wherever it runs, and another one for a program that errs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulator.__main__ import digested
from tests.simulator.digest import digest_of_all, stable
from tests.simulator.planted_fits import BUGS
from tests.simulator.world import simulate

SEED = 7


def test_a_digest_is_the_same_again_and_after_other_worlds() -> None:
    first = digested(SEED, "")
    assert digested(SEED + 1, "") != first
    assert digested(SEED, "") == first


def test_another_process_that_hashes_otherwise_finds_the_same_digests() -> None:
    command = [sys.executable, "-m", "tests.simulator", "--digest", "--seeds", "3"]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    lines = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    digests = [digested(seed, "") for seed in range(3)]
    assert lines == [*(f"{seed} {line}" for seed, line in enumerate(digests)), f"all {digest_of_all(digests)}"]


def test_a_planted_bug_changes_the_digest_of_its_world() -> None:
    bug = next(bug for bug in BUGS if bug.seed < 200)
    assert digested(bug.seed, bug.name) != digested(bug.seed, "")


def test_a_world_is_the_same_while_its_digest_is_taken() -> None:
    before = simulate(SEED)
    digested(SEED, "")
    assert simulate(SEED) == before


def test_what_has_no_stable_text_is_said_to_have_none() -> None:
    with pytest.raises(TypeError, match="object has no stable text"):
        stable([object()])
