"""Everything at once, at random: bad weather between real processes, stops, kills and restarts of all of them.

Judged by what clients, producers and workers wrote down themselves, and by what must be so once the faults are over:
every call ends, every worker process consumes, and nobody was ever found idle beside work. `AIOQUEUE_CHAOS_CYCLES` says
how many troubles, `AIOQUEUE_CHAOS_SEED` which; both are printed, and the same seed gives the same schedule.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from tests.faults.chaos import CALM_SECONDS, Chaos, Trouble, forecast
from tests.faults.ledger import judge
from tests.faults.test_kills import run_again

CYCLES: Final = int(os.environ.get("AIOQUEUE_CHAOS_CYCLES", str(len(Trouble))))
SEED: Final = int(os.environ.get("AIOQUEUE_CHAOS_SEED", "1"))


def test_the_same_seed_gives_the_same_weather() -> None:
    assert forecast(SEED, 200) == forecast(SEED, 200)
    assert forecast(SEED, 200) != forecast(SEED + 1, 200)
    assert {blow.trouble for blow in forecast(SEED, len(Trouble))} == set(Trouble)


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.timeout(360 + CALM_SECONDS + 6 * CYCLES)
async def test_chaos_loses_nothing_and_everybody_works_again_when_it_is_over(tmp_path: Path) -> None:
    print(f"AIOQUEUE_CHAOS_SEED={SEED} AIOQUEUE_CHAOS_CYCLES={CYCLES}")
    began = monotonic()
    async with AsyncExitStack() as stack:
        chaos = Chaos(tmp_path, stack)
        await chaos.play(lambda: chaos.storm(forecast(SEED, CYCLES)), SEED)
        seconds = monotonic() - began
        evidence = await chaos.close()
    marks = chaos.marks()
    broken = judge(chaos.clients, marks, evidence, chaos.expected)
    print(
        f"{chaos.troubles.total()} troubles, {seconds / CYCLES:.2f} s each; jobs acknowledged: "
        f"{len(chaos.clients.acknowledged)}, jobs that began more than once: {run_again(marks)}, "
        f"promises broken: {len(broken)}"
    )
    assert broken == []
    assert chaos.idle_found == 0
    for log in ("broker.err", "worker.err"):
        assert "defect of aioqueue" not in (tmp_path / log).read_text()
        assert "Traceback" not in (tmp_path / log).read_text()
    assert chaos.troubles.total() == CYCLES
    assert len(chaos.clients.acknowledged) >= CYCLES
