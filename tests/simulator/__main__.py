"""`python -m tests.simulator`: replay one seed with its trace, or look for seeds that break a promise.

    python -m tests.simulator --seed 17 -v              exactly the world of seed 17, told step by step
    python -m tests.simulator --seconds 3600 --jobs 2   random seeds, and a summary
    python -m tests.simulator --bug NAME --seeds 200    which of these seeds find a planted bug
    python -m tests.simulator --level 2 ...             the same with the real broker, clients and workers
    python -m tests.simulator --level 3 ...             those, used by people who do not wait
    python -m tests.simulator --digest --seeds 200      one digest for each of these seeds of level 1, and one over all

Exits with 1 if a promise was broken.

A change that is to change no behaviour leaves every line of `--digest` as it was: a digest is taken of every batch
that becomes durable (position, time, events and bodies, byte for byte) and of every message that a peer is told. Write
them to a file before and after (`--digest > before.txt`), and `diff` names the seeds whose worlds are others now. They
depend on neither the process nor `--jobs`; with `--bug` they are those of the worlds with the bug. At level 2 the
outcome of a seed has a digest, which changes with the number of callbacks.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import secrets
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from typing import Any, NamedTuple

import pytest

from tests.simulator import planted, planted_fits, world
from tests.simulator.checker import Violation
from tests.simulator.digest import digest_of, digest_of_all
from tests.simulator.shells import hasty, owning, planted_hasty, planted_owning
from tests.simulator.shells import planted as shells_planted
from tests.simulator.shells import world as shells_world

AT_ONCE = 20


class Level(NamedTuple):
    """One of the simulators: how a seed is played, its planted bugs, and what its steps are."""

    simulate: Callable[..., Any]
    bugs: list[planted.Bug]
    what: str
    steps: Callable[[Any], int]


LEVELS = {
    1: Level(world.simulate, planted_fits.BUGS, "commands", lambda outcome: outcome.commands),
    2: Level(shells_world.simulate, shells_planted.BUGS, "callbacks", lambda outcome: outcome.steps),
    3: Level(hasty.simulate_hasty, planted_hasty.BUGS, "callbacks", lambda outcome: outcome.steps),
    4: Level(owning.simulate_owning, planted_owning.BUGS, "callbacks", lambda outcome: outcome.steps),
}


def replay_command(level: int, seed: int, bug: str = "") -> str:
    """What to type to see this world again."""
    options = f"{'' if level == 1 else f' --level {level}'} --seed {seed}{f' --bug {bug}' if bug else ''}"
    return f"python -m tests.simulator{options} -v"


def played(level: int, seed: int, bug: str, say: Callable[[str], None] | None = None) -> Any:
    """One world, with a bug planted if one is named. Raises `Violation`."""
    plant = next((planted.plant for planted in LEVELS[level].bugs if planted.name == bug), None)
    with pytest.MonkeyPatch.context() if plant else nullcontext() as patch:
        if plant is not None and patch is not None:
            plant(patch)
        return LEVELS[level].simulate(seed, say=say)


def tried(level: int, seed: int, bug: str) -> int | str:
    """One world: its steps, or the promise it broke."""
    try:
        return LEVELS[level].steps(played(level, seed, bug))
    except Violation as violation:
        return str(violation)
    finally:
        # A world is one great cycle, and nothing is collected while one is played: hours of them took gigabytes.
        gc.collect()


def digested(seed: int, bug: str) -> str:
    """The digest of one world of level 1."""
    try:
        return digest_of(lambda: played(1, seed, bug))
    finally:
        gc.collect()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--level",
        type=int,
        choices=LEVELS,
        default=1,
        help="1 is core alone, 2 all, 3 all with hasty users, 4 with own ids",
    )
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--seeds", type=int, default=200, help="the fixed seeds 0 to N-1 (default %(default)s)")
    parser.add_argument("--seconds", "--random", type=float, metavar="SECONDS", help="random seeds for so long")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default %(default)s)")
    parser.add_argument("--bug", default="", metavar="NAME", help="plant this one first")
    parser.add_argument("--digest", action="store_true", help="print the digests of the fixed seeds of level 1")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell the trace of --seed")
    options = parser.parse_args()
    names = [bug.name for bug in LEVELS[options.level].bugs]
    if options.bug and options.bug not in names:
        parser.error(f"level {options.level} has no bug {options.bug}, but {', '.join(names)}")
    if options.digest:
        if options.level != 1 or options.seconds or options.seed is not None:
            parser.error("--digest is of the fixed seeds of level 1: it goes with --seeds, --jobs and --bug only")
        return digest(options)
    if options.seed is not None:
        return replay(options)
    return search(options)


def replay(options: argparse.Namespace) -> int:
    """One seed, told."""
    try:
        outcome = played(options.level, options.seed, options.bug, print if options.verbose else None)
    except Violation as violation:
        print(f"seed {options.seed}: {violation}")
        if violation.__cause__ is not None:
            raise
        return 1
    print(f"seed {options.seed}: {outcome}")
    return 0


def digest(options: argparse.Namespace) -> int:
    """The digest of each fixed seed, and the one over all."""
    digests: list[str] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for seed, line in enumerate(pool.map(digested, range(options.seeds), itertools.repeat(options.bug))):
            digests.append(line)
            print(seed, line)
    print("all", digest_of_all(digests))
    return 0


def search(options: argparse.Namespace) -> int:
    """Many seeds; every one that breaks a promise is named with the command that replays it."""
    began = time.perf_counter()
    level = LEVELS[options.level]
    first = secrets.randbits(32) << 16 if options.seconds else 0
    worlds = steps = broken = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        for start in itertools.count(first, AT_ONCE):
            over = time.perf_counter() - began >= options.seconds if options.seconds else start >= options.seeds
            if over:
                break
            seeds = range(start, start + AT_ONCE)
            results = pool.map(tried, itertools.repeat(options.level), seeds, itertools.repeat(options.bug))
            for seed, result in zip(seeds, results, strict=True):
                worlds += 1
                if isinstance(result, str):
                    broken += 1
                    print(f"seed {seed}: {result}\n    {replay_command(options.level, seed, options.bug)}")
                else:
                    steps += result
    seconds = time.perf_counter() - began
    each = f"{steps / seconds:,.0f} a second, {worlds / seconds:.1f} worlds"
    print(f"{worlds} worlds, {broken} broken, {steps / 1e6:.2f} million {level.what} in {seconds:.1f} s: {each}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
