"""`python -m tests.simulator`: replay one seed with its trace, or look for seeds that break a promise.

    python -m tests.simulator --seed 17 -v          exactly the world of seed 17, told step by step
    python -m tests.simulator --random 3600 --jobs 2
    python -m tests.simulator --bug NAME --seeds 200    which of these seeds find a planted bug

Exits with 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import itertools
import secrets
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext

import pytest

from tests.simulator.checker import Violation
from tests.simulator.planted import BUGS
from tests.simulator.world import STEPS, Outcome, simulate


def replay_command(seed: int, steps: int = STEPS) -> str:
    """What to type to see this world again."""
    return f"python -m tests.simulator --seed {seed}{'' if steps == STEPS else f' --steps {steps}'} -v"


def tried(seed: int, steps: int, bug: str = "") -> Outcome | str:
    """One world: what it did, or the promise it broke."""
    plant = next((bug_.plant for bug_ in BUGS if bug_.name == bug), None)
    with pytest.MonkeyPatch.context() if plant else nullcontext() as patch:
        if plant is not None and patch is not None:
            plant(patch)
        try:
            return simulate(seed, steps)
        except Violation as violation:
            return str(violation)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--seeds", type=int, default=200, help="the fixed seeds 0 to N-1 (default %(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="how much happens in a world (default %(default)s)")
    parser.add_argument("--random", type=float, metavar="SECONDS", help="random seeds for so long")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default %(default)s)")
    parser.add_argument("--bug", default="", choices=["", *(bug.name for bug in BUGS)], help="plant this one first")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell the trace of --seed")
    options = parser.parse_args()
    if options.seed is not None:
        return replay(options.seed, options.steps, options.bug, options.verbose)
    return search(options)


def replay(seed: int, steps: int, bug: str, verbose: bool) -> int:
    """One seed, told."""
    with pytest.MonkeyPatch.context() as patch:
        for planted in BUGS:
            if planted.name == bug:
                planted.plant(patch)
        try:
            outcome = simulate(seed, steps, print if verbose else None)
        except Violation as violation:
            print(f"seed {seed}: {violation}")
            if violation.__cause__ is not None:
                raise
            return 1
    print(f"seed {seed}: {outcome}")
    return 0


def search(options: argparse.Namespace) -> int:
    """Many seeds; every one that breaks a promise is named with the command that replays it."""
    began = time.perf_counter()
    first = secrets.randbits(32) << 16 if options.random else 0
    worlds = commands = broken = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        for start in itertools.count(first, 20):
            over = time.perf_counter() - began >= options.random if options.random else start >= options.seeds
            if over:
                break
            seeds = range(start, start + 20)
            results = pool.map(tried, seeds, itertools.repeat(options.steps), itertools.repeat(options.bug))
            for seed, result in zip(seeds, results, strict=True):
                worlds += 1
                if isinstance(result, str):
                    broken += 1
                    print(f"seed {seed}: {result}\n    {replay_command(seed, options.steps)}")
                else:
                    commands += result.commands
    seconds = time.perf_counter() - began
    print(
        f"{worlds} worlds, {broken} broken, {commands} commands in {seconds:.1f} s: {commands / seconds:,.0f} a second"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
