"""What a broker's start does to the disk: which files there are then, who may read them, and what is said of them."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from aioqueue.broker.opening import open_broker
from aioqueue.ground import Ground
from aioqueue.transport.address import SqliteAddress


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


def modes(folder: Path) -> dict[str, str]:
    return {each.name: oct(stat.S_IMODE(each.stat().st_mode)) for each in folder.iterdir()}


async def opened(journal: Path) -> dict[str, str]:
    """The modes of all files while a broker is open."""
    async with open_broker(SqliteAddress(str(journal)), ground=Ground()):
        return modes(journal.parent)


@pytest.mark.usefixtures("open_umask")
async def test_no_file_of_a_new_journal_is_open_to_others(journal: Path) -> None:
    while_open = await opened(journal)
    assert {"jobs.db", "jobs.db-wal", "jobs.db-archive", "jobs.db-archive-wal", "jobs.db.mark", "jobs.db.lock"} <= set(
        while_open
    )
    assert set(while_open.values()) | set(modes(journal.parent).values()) == {"0o600"}


async def test_older_files_that_others_may_read_are_told_of_once_and_left_as_they_are(
    journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await opened(journal)
    assert "other users" not in caplog.text
    older = [Path(f"{journal}{suffix}") for suffix in ("", "-archive", ".lock")]
    for path in older:
        path.chmod(0o644)

    await opened(journal)

    [warning] = [record.getMessage() for record in caplog.records if "other users" in record.getMessage()]
    assert all(f"{path} (0644)" in warning for path in older)
    assert f"{journal}.mark" not in warning
    assert [stat.S_IMODE(path.stat().st_mode) for path in older] == [0o644] * 3
    assert caplog.records[0].levelno <= logging.WARNING
