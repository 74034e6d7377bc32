"""What may name a namespace, a queue or a task."""

from __future__ import annotations

import re
from functools import lru_cache

from aioqueue.errors import BadName
from aioqueue.limits import NAME_CHARACTERS_MAX

_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{NAME_CHARACTERS_MAX}}}")


def check_name(what: str, name: str) -> str:
    """The name itself, or `BadName`. Names appear in keys, logs and file names, so few characters are allowed."""
    if not isinstance(name, str) or not _is_name(name):
        raise BadName(what=what, name=name, limit=NAME_CHARACTERS_MAX)
    return name


@lru_cache(maxsize=10_000)
def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None
