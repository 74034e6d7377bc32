"""The format level: which release reads a log, said before the first batch that an older one would not read.

A level is a number that rises by one with each release that journals something new. A log states the level it needs in
its epoch records; a log that states none needs level 1. `LEVELS` says for every record from which level on it is read,
and with how many fields; whoever adds an event or appends a field adds a row here, under the level of the release.

`Partition.step` asks `Levels.check` before a command's events are applied: one that needs more than the log states is
`NeedsLevel`, the shell appends an epoch record and gives the command again. So a level is stated when it is first used,
and what has not been used leaves a log that the release before goes on with. Only commands begin to use something: what
a timer or a lease makes needs no level that a command did not need before.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Final

import msgspec
from msgspec import inspect

from aioqueue.core import events as e
from aioqueue.errors import JournalNewer
from aioqueue.model.growth import LEVEL_FIRST, inner_records, shortened, used_fields
from aioqueue.model.records import EXTRA_FIELDS, EndedRun, FinishedJob, JobExtra, Terms
from aioqueue.model.spec import SPEC_FIELDS, Spec

# level -> record -> how many fields it has from there on. A record that grows gets another row at the later level.
LEVELS: Final[Mapping[int, Mapping[type, int]]] = {
    1: {
        e.JobSubmitted: 11, e.JobDue: 2, e.JobLeased: 4, e.JobSucceeded: 5, e.JobFailed: 7, e.JobReleased: 2,
        e.JobCrashed: 4, e.JobCancelled: 2, e.JobStopping: 4, e.JobExpired: 2,
        e.BulkStaged: 5, e.BulkCommitted: 1, e.BulkFreed: 6, e.BulkCarried: 9,
        e.SessionOpened: 4, e.SessionEnded: 2, e.SessionCarried: 4, e.JobCarried: 20, e.BaseMoved: 5,
        Terms: 4, **EXTRA_FIELDS, **SPEC_FIELDS,
        # Rows of the archive, which hold `Terms` too; of these an older version passes over what was appended.
        FinishedJob: 23, EndedRun: 8,
    },
    2: {
        e.JobMisfit: 2, e.TaskSet: 6, e.ItemsLapsed: 1,
        # Labels.
        Spec: 8,
        Terms: 5,
    },
}  # fmt: skip

# What is packed within an event, by the name of its field.
PACKED: Final[Mapping[str, type]] = {"spec": Spec, "extra": JobExtra}
_WITH_PACKED: Final = (e.JobSubmitted, e.JobCarried)
# Few specs are many jobs'.
_PACKED_LOOKED_AT: Final = 1_000


class NeedsLevel(Exception):
    """The command may be decided when the log states `level`; nothing has happened."""

    def __init__(self, level: int) -> None:
        super().__init__(f"the log must state level {level} first")
        self.level = level


class Levels:
    """What follows from a table of levels. `highest` is the level that this version reads and may write.

    `first` is how many fields each record had at first. `grown` are the records that have more now, or hold one that
    has: they are packed without what they do not use. All of `above` may need a level above the first.
    """

    def __init__(self, table: Mapping[int, Mapping[type, int]]) -> None:
        self.highest = max(table)
        self._rows: dict[type, list[tuple[int, int]]] = {}
        for level in sorted(table):
            for kind, fields in table[level].items():
                self._rows.setdefault(kind, []).append((fields, level))
        self.first = {kind: rows[0][0] for kind, rows in self._rows.items()}
        self._later = {kind for kind, rows in self._rows.items() if rows[-1][1] > LEVEL_FIRST}
        longer = {kind for kind, rows in self._rows.items() if len(rows) > 1}
        # Why a record may have to be cut, or need more, beside its own fields. Most events have nothing there: a plain
        # job has no terms, and should not pay for them.
        self._cut_for = self._reasons(longer, packed=False)
        self._more_for = self._reasons(self._later, packed=True)
        self._cut_only = _only(self._cut_for, longer)
        self.grown, self.above = frozenset(self._cut_for), frozenset(self._more_for)
        self._packed_needs = lru_cache(maxsize=_PACKED_LOOKED_AT)(self._needed_packed)
        # What is packed and was seen to need the first level only, by the name of its field.
        self._plain: dict[str, set[bytes]] = {name: set() for name in PACKED}
        self._looks: dict[type, tuple[tuple[str, set[bytes] | None], ...]] = {
            kind: tuple((name, self._plain.get(name)) for name in names) for kind, names in self._more_for.items()
        }

    def check(self, events: Iterable[tuple[e.Event, bytes | None]], stated: int) -> None:
        """`NeedsLevel` if any of a command's events needs more than the level that is stated."""
        looks, later, needed = self._looks, self._later, LEVEL_FIRST
        # By hand, as in `cut`: most events come through here to be passed over, at some 25 ns each, and a submit by
        # what its spec was seen to be, at 100 ns.
        for event, _ in events:
            kind = type(event)
            if (names := looks.get(kind)) is None:
                continue
            if kind not in later:
                for name, plain in names:
                    inner = getattr(event, name)
                    if inner is not None and (plain is None or inner not in plain):
                        break
                else:
                    continue
            needed = max(needed, self.needed(event))
        if needed > stated:
            raise NeedsLevel(needed)

    def needed(self, record: msgspec.Struct) -> int:
        """The lowest level that reads the record as it is packed."""
        kind = type(record)
        level = self._own(kind, used_fields(record, self.first)) if kind in self._later else LEVEL_FIRST
        for name in self._more_for.get(kind, ()):
            inner = getattr(record, name)
            if isinstance(inner, msgspec.Struct):
                level = max(level, self.needed(inner))
            elif inner is not None:
                level = max(level, self._packed_level(name, inner))
        return level

    def _packed_level(self, name: str, packed: bytes) -> int:
        level = self._packed_needs(packed, PACKED[name])
        if level == LEVEL_FIRST:
            plain = self._plain[name]
            if len(plain) >= _PACKED_LOOKED_AT:
                plain.clear()
            plain.add(packed)
        return level

    def _own(self, kind: type, fields: int) -> int:
        """The lowest level that reads so many fields of a record."""
        return next((level for known, level in self._rows[kind] if known >= fields), self.highest)

    def _needed_packed(self, data: bytes, kind: type) -> int:
        """The lowest level that reads a record that is packed within another one."""
        try:
            return self._needed_values(msgspec.msgpack.decode(data), kind)
        except (ValueError, RecursionError):
            return LEVEL_FIRST

    def _needed_values(self, values: Any, kind: type) -> int:
        if not isinstance(values, list):
            return LEVEL_FIRST
        level = self._own(kind, len(values))
        for value, field in zip(values, _fields(kind), strict=False):
            level = max((level, *(self._needed_values(value, each.cls) for each in inner_records(field.type))))
        return level

    def needed_by(self, events: Iterable[e.Event]) -> int:
        """The lowest level that reads a batch of these events."""
        return max((self.needed(event) for event in events if type(event) in self.above), default=LEVEL_FIRST)

    def cut(self, events: Sequence[e.Event]) -> Sequence[Any]:
        """What to pack for these events: what does not use an appended field has the bytes that it had without."""
        grown, only, first = self.grown, self._cut_only, self.first
        return [
            shortened(event, first)
            if (kind := type(event)) in grown and ((name := only.get(kind)) is None or getattr(event, name) is not None)
            else event
            for event in events
        ]

    def cut_one(self, record: msgspec.Struct) -> Any:
        """The same for one record."""
        name = self._cut_only.get(type(record))
        return record if name is not None and getattr(record, name) is None else shortened(record, self.first)

    def _reasons(self, kinds: set[type], *, packed: bool) -> dict[type, tuple[str, ...]]:
        """The kinds, and all records that may hold one of them at any depth, with the fields that may."""
        held = set(kinds)
        while more := {kind for kind in self._rows if kind not in held and _holding(kind, held, packed)}:
            held |= more
        return {kind: _holding(kind, held, packed) for kind in held}


def _holding(kind: type, wanted: Container[type], packed: bool) -> tuple[str, ...]:
    """The fields of a record that may hold one of the wanted records."""
    within = PACKED if packed and issubclass(kind, _WITH_PACKED) else {}
    return tuple(
        field.name
        for field in _fields(kind)
        if within.get(field.name) in wanted or any(each.cls in wanted for each in inner_records(field.type))
    )


def _only(reasons: Mapping[type, tuple[str, ...]], own: Container[type]) -> dict[type, str]:
    """The one field that is the reason, where there is one and no more."""
    return {kind: names[0] for kind, names in reasons.items() if kind not in own and len(names) == 1}


@cache
def _fields(kind: type) -> tuple[inspect.Field, ...]:
    found = inspect.type_info(kind)
    assert isinstance(found, inspect.StructType)
    return found.fields


def refuse_newer(level: int, path: str) -> int:
    """The level that an epoch record states; `JournalNewer` for one that this version does not read."""
    if level > KNOWN.highest:
        raise JournalNewer(path=path, found=f"level {level}", known=f"level {KNOWN.highest}")
    return level


KNOWN = Levels(LEVELS)
