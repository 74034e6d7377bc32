"""Reading the ends of runs."""

from __future__ import annotations

from typing import Any

from aioqueue.model.bodies import unpack_body, unpack_failure
from aioqueue.model.views import Failure
from aioqueue.protocol.messages import RunEnd, SettleItem


def failure_in(end: SettleItem) -> Failure:
    """The failure that an end tells of; `retry` says the same in both places."""
    assert end.end is RunEnd.FAILED, end
    failure = unpack_failure(end.body)
    assert failure.retry is end.retry
    return failure


def result_in(end: SettleItem) -> Any:
    """The result that an end tells of."""
    assert end.end is RunEnd.SUCCEEDED, end
    return unpack_body(end.body)
