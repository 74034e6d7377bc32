"""An archive of each kind, for the suite that both must pass."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aioqueue.archive.base import Archive
from aioqueue.archive.memory import MemoryArchive
from aioqueue.archive.sqlite import SqliteArchive


@pytest.fixture(params=["memory", "sqlite"])
async def archive(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Archive]:
    opened: Archive
    if request.param == "memory":
        opened = MemoryArchive()
    else:
        opened = await SqliteArchive.open(tmp_path / "archive", journal_id=b"j" * 16)
    yield opened
    await opened.aclose()
