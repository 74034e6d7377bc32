"""What long-running commands log on stderr: one line each, with the time, the level and where it comes from."""

from __future__ import annotations

import logging
import sys
import time
from typing import Final

from aioqueue.errors import BadOption
from aioqueue.monitor.text import plain

LEVELS: Final = ("debug", "info", "warning", "error", "critical")


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z INFO aioqueue.broker: text`, on one line, unprintable characters as escapes.

    A traceback follows on lines of its own, for it tells of a defect.
    """

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__()
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        line = f"{self.formatTime(record)} {record.levelname} {record.name}: {plain(record.getMessage())}"
        if record.exc_info:
            line = f"{line}\n{plain(self.formatException(record.exc_info), lines=True)}"
        return line


def set_up(level: str) -> None:
    """Log from `level` on to stderr. Raises `BadOption` for a level that there is not."""
    if level.lower() not in LEVELS:
        raise BadOption(option="log-level", value=level, reason=f"it must be one of {', '.join(LEVELS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
