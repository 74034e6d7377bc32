"""Logs of worker processes: one line a record, on stderr, with time, level and process."""

from __future__ import annotations

import logging
import sys
from typing import Final

_FORMAT: Final = "%(asctime)s %(levelname)s worker[%(process)d] %(name)s: %(message)s"


class OneLine(logging.Formatter):
    """Joins the lines of a record, so that programs can read a log line by line."""

    def format(self, record: logging.LogRecord) -> str:
        return " | ".join(line for line in super().format(record).splitlines() if line.strip())


def log_to_stderr(level: str) -> None:
    """Write records of `level` and above; an app that has set up its own logging keeps it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(_FORMAT))
    logging.basicConfig(level=level.upper(), handlers=[handler])
