"""What `serve` and `worker` log on stderr, from the level that they are given."""

from __future__ import annotations

import logging
from typing import Final

from aioqueue.errors import BadOption
from aioqueue.logs import log_to_stderr

LEVELS: Final = ("debug", "info", "warning", "error", "critical")


def set_up(level: str) -> None:
    """Log from `level` on to stderr. Raises `BadOption` for a level that there is not."""
    if level.lower() not in LEVELS:
        raise BadOption(option="log-level", value=level, reason=f"it must be one of {', '.join(LEVELS)}")
    # These processes load no app whose handlers they could be.
    logging.getLogger().handlers.clear()
    log_to_stderr(level)
