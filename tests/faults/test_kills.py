"""kill -9 of everybody at random instants, judged by what clients, producers and workers wrote down themselves.

`AIOQUEUE_KILL_CYCLES` says how many kills, `AIOQUEUE_KILL_SEED` which schedule, `AIOQUEUE_KILL_KINDS` who is killed (a
list of `broker broker-twice worker supervisor producer`; all by default). They are printed, and the same gives the same
schedule. `AIOQUEUE_KILL_PROCESSES` is how many processes a supervisor has: with 8 instead of 2, a thousand kills of
workers do not wait for each other.
`AIOQUEUE_KILL_KINDS=broker AIOQUEUE_KILL_CYCLES=1000 python -m pytest -n 0 -s tests/faults/test_kills.py`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from tests.faults.ledger import Mark, judge
from tests.faults.load import Campaign, Victim, plan

CYCLES: Final = int(os.environ.get("AIOQUEUE_KILL_CYCLES", "50"))
SEED: Final = int(os.environ.get("AIOQUEUE_KILL_SEED", "1"))
KINDS: Final = [Victim(kind) for kind in os.environ.get("AIOQUEUE_KILL_KINDS", " ".join(Victim)).split()]


def test_the_same_seed_gives_the_same_schedule() -> None:
    assert plan(SEED, 200) == plan(SEED, 200)
    assert plan(SEED, 200) != plan(SEED + 1, 200)
    assert {kill.victim for kill in plan(SEED, 200)} == set(Victim)
    assert {kill.victim for kill in plan(SEED, 50, [Victim.PRODUCER])} == {Victim.PRODUCER}


def run_again(marks: Iterable[Mark]) -> int:
    """How many jobs began more than once: legal after a kill, and counted."""
    starts = Counter(mark.job for mark in marks if mark.what == "start")
    return sum(count > 1 for count in starts.values())


@pytest.mark.faults
@pytest.mark.slow
# A kill and its restart take about half a second on two shared cores; the rest is the beginning and the end.
@pytest.mark.timeout(360 + 6 * CYCLES)
async def test_kills_lose_nothing_acknowledged_and_repeat_nothing_that_was_over(tmp_path: Path) -> None:
    print(f"AIOQUEUE_KILL_SEED={SEED} AIOQUEUE_KILL_CYCLES={CYCLES} AIOQUEUE_KILL_KINDS={' '.join(KINDS)!r}")
    began = monotonic()
    async with AsyncExitStack() as stack:
        campaign = Campaign(tmp_path, stack)
        await campaign.play(lambda: campaign.strike(plan(SEED, CYCLES, KINDS)), SEED)
        seconds = monotonic() - began
        evidence = await campaign.close()
    marks = campaign.marks()
    told = sum(mark.what == "told" for mark in marks)
    broken = judge(campaign.clients, marks, evidence, campaign.expected)
    twice = run_again(marks)
    kills = ", ".join(f"{count} of {victim.value}" for victim, count in campaign.kills.items())
    print(
        f"kills: {kills}; {seconds / CYCLES:.2f} s each; jobs acknowledged: {len(campaign.clients.acknowledged)}, "
        f"ends told to workers: {told}, jobs that began more than once: {twice}, promises broken: {len(broken)}"
    )
    assert broken == []
    for log in ("broker.err", "worker.err"):
        assert "defect of aioqueue" not in (tmp_path / log).read_text()
    # A play in which nothing happened would prove nothing.
    assert campaign.kills.total() >= CYCLES // 2
    assert len(campaign.clients.acknowledged) >= CYCLES
    assert told >= CYCLES
    assert evidence.epochs > 1 or not {Victim.BROKER, Victim.BROKER_TWICE} & set(KINDS)
