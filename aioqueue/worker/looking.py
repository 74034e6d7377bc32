"""Tasks that only look after a worker: one that fails is told in the log at once, and the worker goes on without it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

_log = logging.getLogger(__name__)


def looking_after(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Begin it; whoever began it cancels it. `name` is what it is called in the log."""
    task = asyncio.create_task(work, name=f"aioqueue: {name}")
    task.add_done_callback(_tell)
    return task


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("%s has failed, and looks no more", task.get_name(), exc_info=error)
