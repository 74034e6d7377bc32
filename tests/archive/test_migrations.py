"""An archive's file becomes one of a later version when it has to, in steps, and at no other time."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from aioqueue.archive import migrations
from aioqueue.archive.base import JobFilter, Table
from aioqueue.archive.migrations import MIGRATIONS, NEEDED, VERSION_FIRST, Migration, has, migrate, version_of
from aioqueue.archive.schema import USER_VERSION
from aioqueue.archive.sqlite import SqliteArchive
from aioqueue.errors import ArchiveFailed, JournalNewer
from aioqueue.model.ids import own_id
from tests.support.finished import act, finished, job_id, logged

JOURNAL = b"j" * 16
# Those to the second version.
STEPS = sum(len(migration.steps) + 2 for migration in MIGRATIONS if migration.version == 2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db-archive"


async def filled(path: Path) -> None:
    """An archive with something in it that every version knows."""
    archive = await SqliteArchive.open(path, journal_id=JOURNAL)
    await archive.write([finished(1)], [], [], 1)
    await archive.aclose()


def header_version(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[60:64], "big")


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return version_of(connection)


def tables(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_versions_rise_one_by_one_and_every_later_table_needs_one() -> None:
    assert [migration.version for migration in MIGRATIONS] == list(range(VERSION_FIRST + 1, USER_VERSION + 1))
    assert set(NEEDED) == set(Table) - {Table.JOB, Table.RUN, Table.TOMBSTONE}


async def test_an_archive_that_uses_nothing_new_keeps_the_first_version(path: Path) -> None:
    await filled(path)
    archive = await SqliteArchive.open(path, journal_id=JOURNAL)
    await archive.acts(10, b"")
    await archive.logs(job_id(1))
    await archive.copy(b"")
    await archive.write([finished(2)], [], [], 2)
    await archive.retain(2**50, 10, 1 << 40)
    await archive.aclose()
    assert header_version(path) == version(path) == 1
    assert tables(path) == {"meta", "jobs", "runs", "tombstones"}


@pytest.mark.parametrize("what", ["act", "log"])
async def test_the_first_row_that_needs_it_makes_the_version(path: Path, what: str) -> None:
    await filled(path)
    archive = await SqliteArchive.open(path, journal_id=JOURNAL)
    acts, logs = ([act(1)], []) if what == "act" else ([], [logged(1)])
    await archive.write([], [], [], 2, acts, logs)
    # The file itself says so at once, for an older release reads that before SQLite reads its log.
    assert header_version(path) == 2
    assert await archive.acts(10, b"") == (acts, b"")
    assert await archive.logs(job_id(1)) == logs
    await archive.aclose()
    archive = await SqliteArchive.open(path, journal_id=JOURNAL)
    assert (archive.synced, await archive.acts(10, b"")) == (2, (acts, b""))
    assert await archive.page(JobFilter("default"), 10, b"") == ([finished(1)], b"")
    await archive.aclose()


async def test_the_first_tombstone_with_a_generation_makes_the_third_version(path: Path) -> None:
    own, again = own_id("default", "default", "once"), own_id("default", "default", "again")
    archive = await SqliteArchive.open(path, journal_id=JOURNAL)
    await archive.write([finished(1, id=own, keep_ms=0), finished(2, generation=4, keep_ms=0)], [], [], 1)
    await archive.retain(2**50, 10, 1 << 40)
    assert header_version(path) == 1
    await archive.write([finished(3, id=again, generation=4, keep_ms=0)], [], [], 2)
    await archive.retain(2**50, 10, 1 << 40)
    assert header_version(path) == 3
    generations = {key: row.generation for key, row in (await archive.get([own, job_id(2), again])).items()}
    assert generations == {again: 4, own: 0, job_id(2): 0}
    await archive.aclose()


async def test_a_version_that_a_reader_kept_out_of_the_file_is_there_with_the_next_commit(
    path: Path,
) -> None:
    await filled(path)
    archive = await SqliteArchive.open(path, journal_id=JOURNAL)
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM jobs").fetchall()
        await archive.write([], [], [], 2, [act(1)])
        assert header_version(path) == 1
        reader.execute("COMMIT")
    await archive.write([], [], [], 3)
    assert header_version(path) == 2
    await archive.aclose()


async def test_a_version_above_the_known_ones_is_refused_untouched(path: Path) -> None:
    await filled(path)
    with path.open("r+b") as file:
        file.seek(60)
        file.write((USER_VERSION + 1).to_bytes(4, "big"))
    before = path.read_bytes()
    with pytest.raises(JournalNewer, match=f"{USER_VERSION + 1}.*{USER_VERSION}"):
        await SqliteArchive.open(path, journal_id=JOURNAL)
    assert path.read_bytes() == before
    assert [name for name in os.listdir(path.parent) if name != path.name] == []


async def test_a_version_that_never_was_is_refused(path: Path) -> None:
    await filled(path)
    with path.open("r+b") as file:
        file.seek(60)
        file.write(bytes(4))
    with pytest.raises(ArchiveFailed, match="version 0 of an archive never was"):
        await SqliteArchive.open(path, journal_id=JOURNAL)


def test_a_migration_that_was_made_is_not_made_again(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, 2)
        told: list[str] = []
        connection.set_trace_callback(told.append)
        migrate(connection, 2)
        assert told == ["PRAGMA user_version"]
        assert has(connection, Table.ACT)
        assert has(connection, Table.JOB)


def test_only_what_is_needed_is_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = Migration(USER_VERSION + 1, ("CREATE TABLE IF NOT EXISTS streams (id BLOB)",))
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, later))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        migrate(connection, 2)
        assert version_of(connection) == 2
        migrate(connection, USER_VERSION + 1)
        assert version_of(connection) == USER_VERSION + 1


# --- interrupted --------------------------------------------------------------------------------------------------


class Stops:
    """A connection that is gone before its statement number `at`."""

    def __init__(self, connection: sqlite3.Connection, at: int) -> None:
        self._connection = connection
        self._left = at

    def execute(self, sql: str) -> sqlite3.Cursor:
        if sql != "PRAGMA user_version":
            if not self._left:
                raise KeyboardInterrupt
            self._left -= 1
        return self._connection.execute(sql)


@pytest.mark.parametrize("at", range(STEPS))
async def test_an_interruption_before_any_step_leaves_an_archive_that_goes_on(path: Path, at: int) -> None:
    await filled(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection, pytest.raises(KeyboardInterrupt):
        migrate(Stops(connection, at), 2)  # type: ignore[arg-type]
    assert version(path) == (2 if at == STEPS - 1 else 1)
    archive = await SqliteArchive.open(path, journal_id=JOURNAL)
    assert await archive.page(JobFilter("default"), 10, b"") == ([finished(1)], b"")
    assert await archive.acts(10, b"") == ([], b"")
    await archive.write([finished(2)], [], [], 2)
    await archive.write([finished(3)], [], [], 3, [act(1)], [logged(3)])
    assert (await archive.acts(10, b""), await archive.logs(job_id(3))) == (([act(1)], b""), [logged(3)])
    await archive.aclose()
    assert header_version(path) == 2


CHILD = """
import asyncio, os, signal, sys
from aioqueue.archive import migrations
from aioqueue.archive.sqlite import SqliteArchive
from tests.support.finished import act, finished, logged

path, at = sys.argv[1], int(sys.argv[2])

class Killed:
    def __init__(self, connection):
        self.connection, self.left = connection, at
    def execute(self, sql):
        found = self.connection.execute(sql)
        if sql != "PRAGMA user_version":
            if not self.left:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1
        return found

def migrate(connection, needed):
    migrations.migrate(Killed(connection), needed)

async def main():
    import aioqueue.archive.commits as commits
    commits.migrate = migrate
    archive = await SqliteArchive.open(path, journal_id=b"j" * 16)
    await archive.write([finished(2)], [], [], 2, [act(1)], [logged(2)])

asyncio.run(main())
"""


@pytest.mark.faults
@pytest.mark.parametrize("killed", range(STEPS))
async def test_a_kill_behind_any_step_leaves_an_archive_that_goes_on(path: Path, killed: int) -> None:
    await filled(path)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(path), str(killed),
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert await child.wait() == -signal.SIGKILL
    archive = await SqliteArchive.open(path, journal_id=JOURNAL)
    # The bulk was not begun.
    assert archive.synced == 1
    await archive.write([finished(2)], [], [], 2, [act(1)], [logged(2)])
    assert (await archive.acts(10, b""), await archive.logs(job_id(2))) == (([act(1)], b""), [logged(2)])
    await archive.aclose()
    assert header_version(path) == 2
