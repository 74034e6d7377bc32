"""Waiting for what nobody announces: another process's log, or a state that changes by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LOOK_SECONDS = 0.02


async def eventually(so: Callable[[], bool]) -> None:
    """Wait until it is so; the test's own timeout is the bound."""
    while not so():  # noqa: ASYNC110 - nobody says when
        await asyncio.sleep(LOOK_SECONDS)
