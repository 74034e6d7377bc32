"""A broker that cuts its log all the time is killed again and again: what it said is so, before and after."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import aioqueue
from aioqueue.broker.opening import open_broker
from aioqueue.broker.storage import JournalBounds
from aioqueue.clock import SystemClock
from aioqueue.core.invariants import check_state
from aioqueue.core.places import unpack_place
from aioqueue.ground import Ground
from aioqueue.journal.check import check_journal
from aioqueue.journal.sqlite import SqliteJournal
from aioqueue.transport.address import SqliteAddress
from tests.support.scene import job_id

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(600)]

LIVES = 200 if os.environ.get("AIOQUEUE_FAULTS") == "all" else 3


def live_and_die(path: Path, after: int, lines: int) -> list[list[str]]:
    """What a broker said that was killed after so many lines."""
    root = Path(aioqueue.__file__).parents[1]
    program = [sys.executable, "-m", "tests.broker.cut_and_die", str(path), str(after)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(program, cwd=root, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().split() for _ in range(lines)]
        process.kill()
        said += [words for line in process.stdout if line.endswith("\n") and len(words := line.split()) == 2]
    return said


async def test_no_kill_while_the_log_is_cut_loses_a_job_or_brings_one_back(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    rng = random.Random(11)
    there: set[int] = set()
    over: set[int] = set()
    last = first = 0
    for _ in range(LIVES):
        said = live_and_die(path, last, rng.randint(150, 260))
        assert said[-1], "it died by itself"
        there |= {int(number) for what, number in said if what == "there"}
        over |= {int(number) for what, number in said if what == "over"}
        last = max(there)
        # A submit or a cancel that was under way may be there too, and is known to be by the next broker only.
        report = await check_journal(path)
        assert report.problems == []
        assert report.first_position >= first
        first = report.first_position
        living = await _living(path)
        assert living >= there - over - {last}
        assert not living & over
        assert living - there <= {last + 1}
        last = max(last, *living)
        there |= living
        over |= there - living
    assert first > 30 * LIVES


async def _living(path: Path) -> set[int]:
    """The jobs that a start finds, after it has been judged; their arguments are those that were submitted."""
    found: dict[int, tuple[int, int]] = {}
    numbers = {job_id(number): number for number in range(1, 300 * LIVES)}
    bounds = JournalBounds(1 << 40, 1 << 40)
    async with open_broker(SqliteAddress(str(path)), ground=Ground(), bounds=bounds) as broker:
        state = broker.engine.partition.state
        assert check_state(state, settled=False) == []
        found = {numbers[key]: (job.home, job.place) for key, job in state.jobs.items()}
    journal = await SqliteJournal.open(path, SystemClock())
    try:
        for number, (home, place) in found.items():
            where = unpack_place(place)
            assert await journal.get(home, where.offset, where.length) == b"%d;" % number * 50
    finally:
        await journal.aclose()
    return set(found)
