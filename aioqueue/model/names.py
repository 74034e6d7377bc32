"""What may name a namespace, a queue or a task, and what may be said of an act."""

from __future__ import annotations

import re
from functools import lru_cache

from aioqueue.errors import BadName, BadOption
from aioqueue.limits import NAME_CHARACTERS_MAX, TEXT_CHARACTERS_MAX

_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{NAME_CHARACTERS_MAX}}}")


def check_name(what: str, name: str) -> str:
    """The name itself, or `BadName`. Names appear in keys, logs and file names, so few characters are allowed."""
    if not isinstance(name, str) or not _is_name(name):
        raise BadName(what=what, name=name, limit=NAME_CHARACTERS_MAX)
    return name


def check_text(option: str, text: str) -> str:
    """The text itself, or `BadOption`: `TEXT_CHARACTERS_MAX` at most, and none of the halves that UTF-8 cannot say."""
    if not isinstance(text, str) or len(text) > TEXT_CHARACTERS_MAX or text.encode(errors="ignore").decode() != text:
        reason = f"it must be at most {TEXT_CHARACTERS_MAX} characters that UTF-8 has"
        raise BadOption(option=option, value=text[:80] if isinstance(text, str) else text, reason=reason)
    return text


@lru_cache(maxsize=10_000)
def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None
