"""kill -9 of the broker and of workers at random instants, judged by what clients and workers wrote down themselves.

`AIOQUEUE_KILL_CYCLES` says how many kills, `AIOQUEUE_KILL_SEED` which schedule; both are printed, and the same seed
gives the same schedule: `AIOQUEUE_KILL_SEED=17 python -m pytest tests/faults/test_kills.py`.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.faults.ledger import judge, read_marks
from tests.faults.load import Campaign, Victim, plan
from tests.support.programs import marks_of

CYCLES: Final = int(os.environ.get("AIOQUEUE_KILL_CYCLES", "50"))
SEED: Final = int(os.environ.get("AIOQUEUE_KILL_SEED", "1"))


def test_the_same_seed_gives_the_same_schedule() -> None:
    assert plan(SEED, 200) == plan(SEED, 200)
    assert plan(SEED, 200) != plan(SEED + 1, 200)
    assert {kill.victim for kill in plan(SEED, 200)} == set(Victim)


@pytest.mark.faults
@pytest.mark.slow
# A kill and its restart take about a second on two shared cores; the rest is the beginning and the end.
@pytest.mark.timeout(180 + 6 * CYCLES)
async def test_kills_lose_nothing_acknowledged_and_repeat_nothing_that_was_over(tmp_path: Path) -> None:
    print(f"AIOQUEUE_KILL_SEED={SEED} AIOQUEUE_KILL_CYCLES={CYCLES}")
    async with AsyncExitStack() as stack:
        campaign = Campaign(tmp_path, stack)
        await campaign.play(plan(SEED, CYCLES), SEED)
        evidence = await campaign.close()
    marks = read_marks(marks_of(tmp_path))
    told = sum(mark.what == "told" for mark in marks)
    print(f"{campaign.kills} kills, {len(campaign.clients.acknowledged)} jobs acknowledged, {told} ends told")
    assert judge(campaign.clients, marks, evidence, campaign.expected) == []
    # A play in which nothing happened would prove nothing.
    assert campaign.kills >= CYCLES // 2
    assert len(campaign.clients.acknowledged) >= CYCLES
    assert told >= CYCLES
    assert evidence.epochs > 1
