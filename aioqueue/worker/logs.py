"""Logs of worker processes: one line a record, on stderr, with time, level and process.

What a job brought along stands in these lines, so no character of them is obeyed by a terminal.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Final

_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s"


class OneLine(logging.Formatter):
    """Joins the lines of a record, so that programs can read a log line by line; times are UTC."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self, form: str) -> None:
        super().__init__(form)
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        line = " | ".join(line for line in super().format(record).splitlines() if line.strip())
        if line.isprintable():
            return line
        return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in line)


def log_to_stderr(level: str) -> None:
    """Write records of `level` and above; an app that has set up its own logging keeps it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(_FORMAT))
    logging.basicConfig(level=level.upper(), handlers=[handler])
