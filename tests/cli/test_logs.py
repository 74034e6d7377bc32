"""The log of `aioqueue serve`."""

from __future__ import annotations

import logging

import pytest

from aioqueue.cli.logs import LineFormatter, set_up
from aioqueue.errors import BadOption


def test_a_record_is_one_line_with_utc_time_level_and_origin() -> None:
    record = logging.LogRecord("aioqueue.broker", logging.WARNING, __file__, 1, "peer said %s", ("\x1b[2J\nx",), None)
    record.created, record.msecs = 1_700_000_000.25, 250.0

    assert LineFormatter().format(record) == (r"2023-11-14T22:13:20.250Z WARNING aioqueue.broker: peer said \x1b[2J\nx")


def test_a_level_that_there_is_not_is_refused() -> None:
    with pytest.raises(BadOption, match="it must be one of debug, info"):
        set_up("loud")
