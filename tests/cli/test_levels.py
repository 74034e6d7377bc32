"""A journal of a later release at the command line: refused by the name of its level, and stated on by every copy."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from aioqueue.broker.opening import open_broker
from aioqueue.cli.salvaging import salvage
from aioqueue.clock import ManualClock
from aioqueue.ground import Ground
from aioqueue.journal.batch import BatchKind
from aioqueue.journal.epoch import stated_level
from aioqueue.journal.salvage import Gap, remains
from aioqueue.transport.address import SqliteAddress
from tests.support.churn import ask, churn
from tests.support.commands import run
from tests.support.later import LATER, TODAY, Mark, later
from tests.support.shell import Shell

REFUSED = f"was written by a newer aioqueue (level {LATER}); this one reads up to level {TODAY}; it was left untouched"


@pytest.fixture
async def newer(folder: Path) -> Path:
    """A journal of a later level with two living jobs, one of them from before its level was raised."""
    path = folder / "newer.db"
    with pytest.MonkeyPatch.context() as patched:
        later(patched)
        async with open_broker(SqliteAddress(str(path)), ground=Ground(), disk_reserve=0) as broker:
            await churn(broker, range(1), living=True)
            await ask(broker, Mark("a"))  # type: ignore[arg-type]
            await churn(broker, range(1, 2), living=True)
    return path


@contextmanager
def release(number: int) -> Iterator[None]:
    """This program, or the later one."""
    with pytest.MonkeyPatch.context() as patched:
        if number > 1:
            later(patched)
        yield


def levels_of(path: Path) -> list[int]:
    """What the epoch records of a journal state, in their order."""
    with remains(path, 1) as left:
        return [
            stated_level(item.events, "j", item.position)
            for item in left.read()
            if not isinstance(item, Gap) and item.kind is BatchKind.EPOCH
        ]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix not in (".lock", ".py")}


@pytest.mark.parametrize(
    "words",
    [
        ("check", "newer.db"),
        ("check", "newer.db", "--salvage", "copy.db"),
        ("backup", "--url", "sqlite:newer.db", "copy.db"),
    ],
    ids=["check", "salvage", "backup"],
)
def test_every_command_refuses_a_later_level_by_its_name_and_writes_nothing(
    newer: Path, shell: Shell, words: tuple[str, ...]
) -> None:
    before = contents(newer.parent)
    ended = shell.run(*words)
    assert ended.code != 0
    assert REFUSED in ended.err
    assert contents(newer.parent) == before


def test_a_broker_refuses_a_later_level_by_its_name_and_writes_nothing(newer: Path) -> None:
    before = contents(newer.parent)
    ended = run("serve", "--journal", f"sqlite:{newer}", "--port", "0", cwd=newer.parent)
    assert ended.code != 0
    assert REFUSED in ended.err
    assert contents(newer.parent) == before


def test_check_tells_the_level(newer: Path, shell: Shell) -> None:
    with release(2):
        assert f"format 1, level {LATER}, epoch 2" in shell.run("check", "newer.db").out
        assert shell.run("check", "newer.db", "--json").json["level"] == LATER


def test_a_backup_states_the_level(newer: Path, shell: Shell) -> None:
    with release(2):
        assert shell.run("backup", "--url", "sqlite:newer.db", "copy.db").code == 0
    # The journal's own, its owner's that the backup was read from, the backup's, and of the broker that verified it.
    assert levels_of(newer.with_name("copy.db")) == [1, LATER, LATER, LATER, LATER]
    assert REFUSED in shell.run("check", "copy.db").err


@pytest.mark.parametrize("lost", [2, 3, 4])
async def test_salvage_states_the_level_wherever_the_gap_is(newer: Path, lost: int) -> None:
    with closing(sqlite3.connect(newer, isolation_level=None)) as database:
        database.execute("PRAGMA secure_delete = ON")
        database.execute("UPDATE batches SET data = zeroblob(length(data)) WHERE position = ?", (lost,))
    os.remove(f"{newer}.mark")
    with release(2):
        report = await salvage(str(newer), str(newer.with_name("copy.db")), ManualClock())
    assert len(report.lost) == 1
    # What salvage appends, and the broker that proves it: the last two state what stands before or behind the gap.
    assert levels_of(newer.with_name("copy.db"))[-2:] == [LATER, LATER]
