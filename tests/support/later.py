"""What the next release might journal: an event of its level, for tests of what this one does about levels."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest

from aioqueue.core import events as e
from aioqueue.core import levels, records, salvage
from aioqueue.core.apply import APPLY
from aioqueue.core.decide import _DECIDE
from aioqueue.core.decision import Decision
from aioqueue.core.unheard import PASSED_OVER
from aioqueue.model.growth import Shapes

KIND = 49
# This release reads up to `TODAY`.
TODAY: Final = levels.KNOWN.highest
LATER: Final = TODAY + 1


class Marked(msgspec.Struct, array_like=True, tag=KIND, gc=False, forbid_unknown_fields=True):
    """An event that is first read at level `LATER`."""

    text: str


class Mark(msgspec.Struct, gc=False):
    """The command that leads to it."""

    text: str


def at_level(highest: int) -> levels.Levels:
    """The table of a release that reads up to so high a level, and journals `Marked` from level `LATER` on."""
    table = {level: dict(levels.LEVELS.get(level, {})) for level in range(1, highest + 1)}
    table[LATER][Marked] = 1
    return levels.Levels(table)


def later(monkeypatch: pytest.MonkeyPatch, highest: int = LATER) -> list[str]:
    """From here on this program is that later release; what is applied is listed."""
    marks: list[str] = []

    def decide_mark(state: Any, command: Mark, now: Any, bodies: Any) -> Decision:
        bodies.add(b"beside it")
        return Decision([(Marked(command.text), None)], "marked")

    def apply_mark(state: Any, event: Marked, body: Any, at: Any) -> None:
        marks.append(event.text)

    kinds = e.JournaledEvent | Marked
    monkeypatch.setattr(levels, "KNOWN", at_level(highest))
    monkeypatch.setattr(records, "_decoder", msgspec.msgpack.Decoder(list[kinds]))  # type: ignore[valid-type]
    monkeypatch.setattr(records, "_shapes", Shapes(list[kinds]))  # type: ignore[valid-type]
    monkeypatch.setitem(_DECIDE, Mark, decide_mark)  # type: ignore[arg-type]
    monkeypatch.setitem(APPLY, Marked, apply_mark)  # type: ignore[arg-type]
    monkeypatch.setitem(PASSED_OVER, Marked, lambda unheard, state, event, position: False)  # type: ignore[misc]
    monkeypatch.setitem(salvage._TAKE, Marked, lambda rescue, found: None)  # type: ignore[misc]
    return marks
