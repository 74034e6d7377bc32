"""One line a record."""

from __future__ import annotations

import logging

from aioqueue.worker.logs import OneLine


def test_a_record_with_an_exception_is_one_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("app", logging.ERROR, __file__, 1, "it %s", ("failed\nbadly",), info)
    line = OneLine("%(levelname)s %(message)s").format(record)
    assert line.startswith("ERROR it failed | badly | Traceback")
    assert line.endswith("| ValueError: two | lines")
    assert "\n" not in line


def test_a_record_holds_no_character_that_a_terminal_obeys() -> None:
    record = logging.LogRecord("app", logging.ERROR, __file__, 1, "job failed: %s", ("\x1b[2J\u202e",), None)

    assert OneLine("%(message)s").format(record) == r"job failed: \x1b[2J\u202e"
