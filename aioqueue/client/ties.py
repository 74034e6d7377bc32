"""`Ties`: what a running job may do beyond its own process, as its `Context` asks for it.

A worker ties its runs to its queue, which is such a `Ties` itself. A job in a process of its own has a connection to
nobody; a task that is called directly has no ties at all.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final, NoReturn, Protocol

from aioqueue.client.children import Family
from aioqueue.errors import Refused

_NO_CONNECTION: Final = (
    'a task with executor="process" cannot submit children; let it return what to submit, or run it without'
)


class Ties(Protocol):
    """Asked in the event loop that the run is in."""

    def submit_child(
        self, family: Family, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Coroutine[Any, Any, Any]:
        """Submit a job whose parent is the family's; gives its `Job`."""
        ...


class NoConnection:
    """The ties of a job in a process of its own."""

    def submit_child(self, family: Family, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> NoReturn:
        """Raises `Refused`."""
        raise Refused(reason=_NO_CONNECTION)
