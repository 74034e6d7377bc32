"""No files left to accept a connection with: said once, and nothing else is hushed up."""

from __future__ import annotations

import asyncio
import errno

import pytest

from aioqueue.transport.files import AcceptFailures


async def test_a_connection_that_there_is_no_room_for_is_logged_once_without_a_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failures, loop = AcceptFailures(), asyncio.get_running_loop()
    for _ in range(3):
        failures(loop, {"message": "accept", "exception": OSError(errno.EMFILE, "Too many open files")})
    [record] = caplog.records
    assert "ulimit -n" in record.getMessage()
    assert record.exc_info is None


async def test_every_other_failure_is_told_as_it_always_was(caplog: pytest.LogCaptureFixture) -> None:
    failures, loop = AcceptFailures(), asyncio.get_running_loop()
    failures(loop, {"message": "something else broke", "exception": ValueError("no")})
    assert "something else broke" in caplog.text
