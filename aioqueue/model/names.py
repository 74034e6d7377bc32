"""What may name a namespace, a queue or a task."""

from __future__ import annotations

import re
from functools import lru_cache

from aioqueue.errors import BadName
from aioqueue.limits import NAME_CHARACTERS_MAX

_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{NAME_CHARACTERS_MAX}}}")


@lru_cache(maxsize=10_000)
def check_name(what: str, name: str) -> str:
    """The name itself, or `BadName`. Names appear in keys, logs and file names, so few characters are allowed."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise BadName(what=what, name=name, limit=NAME_CHARACTERS_MAX)
    return name
