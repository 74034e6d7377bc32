"""Applying changes, and never refuses: the only code that writes to `State`.

Each function makes one event so, and checks before it touches anything that the event can be: what `decide` promised
is asserted here once more. `IllegalChange` is a defect of this program or a journal it did not write; it is never an
answer to a caller. The same code runs for new events and for replay, so both give the same state.
"""

from __future__ import annotations

from typing import Final

from aioqueue.core import events as e
from aioqueue.core.apply import bulks, jobs, journal, lanes, registry, runs, sessions
from aioqueue.core.apply.journal import known_session
from aioqueue.core.apply.moment import Moment, Rows
from aioqueue.core.state import State

__all__ = ["APPLY", "Moment", "apply", "known_session"]


def apply(state: State, event: e.Event, body: bytes | None, at: Moment) -> None:
    """Make the event so; `body` is the payload that the event refers to. Effects are added to `at`."""
    APPLY[type(event)](state, event, body, at)


# The rows of all files: one table, so that who applies a million looks into one.
APPLY: Final[Rows] = jobs.ROWS | runs.ROWS | bulks.ROWS | sessions.ROWS | journal.ROWS | registry.ROWS | lanes.ROWS
