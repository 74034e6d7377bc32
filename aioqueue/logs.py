"""What the programs of the command line log on stderr: a broker, a supervisor, its workers and their processes alike.

One line a record, with time, level, logger and process. What a job brought along stands in these lines, so no character
of them is obeyed by a terminal, and none of them can look like another record.

An app that has set up logging of its own keeps it: what its handlers take is not written here as well. Of other
people's packages only warnings are shown, unless the level is debug. Embedded brokers and workers set up nothing.
"""

from __future__ import annotations

import logging
import site
import sys
import sysconfig
import time
from collections.abc import Iterable
from typing import Final

_PACKAGE: Final = "aioqueue"


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z INFO aioqueue.broker[8203]: text`; a traceback follows, indented. Times are UTC."""

    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__()
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        origin = f"{record.name}[{record.process}]"
        line = f"{self.formatTime(record)} {record.levelname} {origin}: {_printable(record.getMessage())}"
        more = []
        if record.exc_info:
            more += self.formatException(record.exc_info).splitlines()
        if record.stack_info:
            more += self.formatStack(record.stack_info).splitlines()
        return "\n".join([line, *(f"  {_printable(each)}" for each in more if each.strip())])


class OwnHandler(logging.StreamHandler):  # type: ignore[type-arg]  # generic only to type checkers
    """Writes what no handler of the app takes. `packages` are the app's own, wherever they are installed."""

    def __init__(self, level: str, packages: Iterable[str]) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(LineFormatter())
        self._packages = frozenset((_PACKAGE, *packages))
        self._everything = level == "DEBUG"
        self._installed = _installed()

    def filter(self, record: logging.LogRecord) -> bool:
        wanted = record.levelno >= logging.WARNING or self._everything or self._is_own(record)
        return wanted and not self._is_taken(record.name) and bool(super().filter(record))

    def _is_own(self, record: logging.LogRecord) -> bool:
        return record.name.partition(".")[0] in self._packages or not record.pathname.startswith(self._installed)

    def _is_taken(self, name: str) -> bool:
        """Whether the record comes to a handler of the app, set up before or after this one."""
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(each is not self and not isinstance(each, logging.NullHandler) for each in logger.handlers):
                return True
            logger = logger.parent if logger.propagate else None
        return False


def log_early() -> None:
    """Before an app is loaded: warnings that it logs until `log_to_stderr` look like all others.

    Nothing that the app would see: a handler of the root logger would keep its `basicConfig` from having any effect.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(LineFormatter())
    logging.lastResort = handler


def log_to_stderr(level: str, packages: Iterable[str] = ()) -> None:
    """Write records of `level` and above, after the app was loaded; an app that set up the root logger keeps it.

    `packages` are the names of the app's own.
    """
    level = level.upper()
    _enable()
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(OwnHandler(level, packages))
        root.setLevel(level)


def _enable() -> None:
    """`dictConfig` silences every logger that was there before, unless it is told otherwise, and nobody means these."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == _PACKAGE:
            logging.getLogger(name).disabled = False


def _installed() -> tuple[str, ...]:
    """Where Python and the packages of others are."""
    paths = sysconfig.get_paths()
    return (*(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")), site.getusersitepackages())


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
