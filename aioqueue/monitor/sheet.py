"""Rows in columns that fit the width in which they are drawn: what matters least gives way first, and a name never.

A column has a rank: while the columns are too wide, that of the highest rank is left out. Those of rank 0 always stay;
of these, texts are shortened. Pure; used by `render`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

_GAP: Final = 2
# What is left of a text that gives way, at least: enough to tell it from others.
_LEAST_WIDTH: Final = 12


class Column(NamedTuple):
    """`flexible` ones hold text, which may be cut, and stand to the left; others are as wide as they must be."""

    title: str
    rank: int = 0
    flexible: bool = False
    left: bool = False


class Sheet:
    """Rows of texts, one for each column."""

    def __init__(self, *columns: Column) -> None:
        self._columns = columns
        self._rows: list[Sequence[Text]] = []

    def add_row(self, *cells: Text) -> None:
        self._rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = self.widths(options.max_width)
        heads = [Text(column.title, style="dim") for column in self._columns]
        for row in (heads, *self._rows):
            line = Text(no_wrap=True, overflow="ellipsis", end="\n")
            for index, width in widths.items():
                column, cell = self._columns[index], row[index].copy()
                # Each line by itself would end with what it is cut to.
                cell.truncate(width, overflow="ellipsis")
                cell.align("left" if column.flexible or column.left else "right", width)
                line.append(" " * _GAP if line else "").append_text(cell)
            line.rstrip()
            yield line

    def widths(self, width: int) -> dict[int, int]:
        """How wide each column is that is shown, by its index, in all of `width`."""
        wanted = [
            max(cell_len(cell.plain) for cell in (Text(column.title), *(row[index] for row in self._rows)))
            for index, column in enumerate(self._columns)
        ]
        least = [
            min(wide, _LEAST_WIDTH) if column.flexible else wide
            for column, wide in zip(self._columns, wanted, strict=True)
        ]
        shown = list(range(len(self._columns)))

        def room() -> int:
            return width - sum(least[index] for index in shown) - _GAP * (len(shown) - 1)

        for index in sorted(shown, key=lambda index: (-self._columns[index].rank, -index)):
            if room() >= 0 or not self._columns[index].rank:
                break
            shown.remove(index)
        given = {index: least[index] for index in shown}
        rest = room()
        while rest > 0 and (narrow := [index for index in shown if given[index] < wanted[index]]):
            for index in narrow[:rest]:
                given[index] += 1
            rest -= len(narrow[:rest])
        return given
