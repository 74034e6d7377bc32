"""An item that is no job: something that recovery needs, kept in the journal by a record that is written again as a
whole.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple


class ItemKind(IntEnum):
    """What an item is, and what names one: a session its number, a part of a bulk the bulk's id and the place of its
    first job, a registered task its namespace and name.
    """

    SESSION = 1
    PART = 2
    TASK = 3


class Item(NamedTuple):
    """One of them, by its name."""

    kind: ItemKind
    key: Any
