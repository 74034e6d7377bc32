"""Which processes descend from one, where the system has a `/proc` as Linux does; elsewhere none are found.

Called by the keeper of a process of jobs, which ends what a job has started, and by the supervisor, which stops and
continues its workers with all that they run.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

_OVER: Final = (b"Z", b"X")


def descendants(pid: int) -> list[int]:
    """All that descend from this process and have not ended, parents before their children."""
    children: dict[int, list[int]] = {}
    over: set[int] = set()
    for name in _names("/proc"):
        with suppress(OSError):
            with open(f"/proc/{name}/stat", "rb") as file:
                # The name of a program stands in parentheses, and may hold any.
                state, parent, *_ = file.read().rpartition(b")")[2].split()
            children.setdefault(int(parent), []).append(int(name))
            if state in _OVER:
                over.add(int(name))
    found = [pid]
    for each in found:
        found += children.get(each, ())
    return [each for each in found[1:] if each not in over]


def has_other_children(than: int) -> bool:
    """Whether this process, of a single thread, may have another child than that one; quick where the kernel tells."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            return any(int(child) != than for child in file.read().split())
    except OSError:
        return True


def _names(folder: str) -> list[str]:
    with suppress(OSError):
        return [name for name in os.listdir(folder) if name.isdecimal()]
    return []
