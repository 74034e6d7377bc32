"""What a child that is forked from this process must not share with it.

A fork copies descriptors and objects, and neither loop, threads nor locks go on in the child. A copy of a lock or of a
socket keeps it alive after the parent died, so that nobody else gets the journal and nobody hears of the end. Whoever
opens something says here, with `in_child` or `close_in_child`, what becomes of the child's copy. It is done right after
the fork, in the child's only thread, and again in a child of that child: an act must stand being repeated, must not
wait, and must not touch the parent's event loop.

A leaf: it knows none of its callers, which are the journal, the archive, transports, queues and workers. Programs that
are started rather than forked have none of this, for no descriptor is inherited by them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

_log = logging.getLogger(__name__)
_acts: Final[WeakKeyDictionary[Any, list[Callable[[Any], object]]]] = WeakKeyDictionary()


def in_child(owner: T, act: Callable[[T], object]) -> None:
    """Have `act(owner)` done in every forked child, as long as `owner` lives; `act` must not hold on to it."""
    _acts.setdefault(owner, []).append(act)


def close_in_child(owner: object, descriptor: int) -> None:
    """Have the copy of an open descriptor closed in every forked child, as long as `owner` lives.

    The owner may close it meanwhile, and the number may then be somebody else's, which is left alone.
    """
    found = os.fstat(descriptor)
    in_child(owner, partial(_close, descriptor, (found.st_dev, found.st_ino)))


def end_loop_in_child(owner: object, loop: object) -> None:
    """Have the copy of a running event loop unusable in every forked child, as long as `owner` lives.

    asyncio's selector is shared by both processes: a child that runs or closes the loop once more, as its way out of
    `asyncio.run`, would make the parent deaf. uvloop makes a new one in the child by itself.
    """
    number_of = getattr(getattr(loop, "_selector", None), "fileno", None)
    if number_of is not None:
        close_in_child(owner, number_of())


def never_free_in_child(owner: T, take: Callable[[T], object]) -> None:
    """Have what `take(owner)` gives never freed in a forked child, not even when that ends: an SQLite connection.

    SQLite forbids to use, or to close, in a child what its parent opened.
    """
    # Not looked for in the child, where another thread of the parent may have left the import unfinished.
    from _ctypes import Py_INCREF

    def keep(owner: T) -> None:
        if (thing := take(owner)) is not None:
            Py_INCREF(thing)

    in_child(owner, keep)


def _close(descriptor: int, identity: tuple[int, int], owner: object) -> None:
    with suppress(OSError):
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino) != identity:
            return
        # Another file takes its place, so that the number stays taken until whoever believes to own it closes it.
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(nothing, descriptor, inheritable=False)
        os.close(nothing)


def _forked() -> None:
    for owner, acts in list(_acts.items()):
        for act in acts:
            try:
                act(owner)
            except Exception:
                _log.exception("%r stays as it was in this forked process", owner)


# Some platforms cannot fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
