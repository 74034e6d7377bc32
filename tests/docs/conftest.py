"""Reading the documents: their fenced blocks, links and tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tests.support.commands import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, text, and the number of its first line in the page."""

    language: str
    text: str
    line: int


def blocks(page: Path, language: str) -> list[Block]:
    """The page's fenced blocks of one language, in order."""
    text = page.read_text()
    found = [Block(m[1], m[2], text.count("\n", 0, m.start(2)) + 1) for m in _FENCE.finditer(text)]
    return [block for block in found if block.language == language]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))
