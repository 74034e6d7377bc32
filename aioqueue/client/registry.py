"""What the registry of tasks says of the names that this program submits by.

A name that somebody types may be wrong, and what its task declares is known to its workers only: so the broker is asked
before anything is submitted, and what it said is remembered for a while. A `Task` never comes here, nor does a queue
whose broker is `memory:`, for there the program itself declares what it runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from difflib import get_close_matches
from typing import Final, NamedTuple, TypeVar

from aioqueue.client.described import Described, description_of
from aioqueue.client.link import Link
from aioqueue.client.named import NamedTask
from aioqueue.client.session import Session
from aioqueue.client.task import TaskRegistry
from aioqueue.errors import BrokerUnavailable, DeadlineExceeded, UnknownTask, Unsupported
from aioqueue.limits import REGISTRY_FRESH_MS, TASKS_REMEMBERED_MAX
from aioqueue.model.registry import unpack_description

R = TypeVar("R")

_log = logging.getLogger(__name__)

_NEAREST_MAX: Final = 3
# Comparing so many names takes some 20 ms; more of them are compared beside the event loop.
_COMPARED_HERE: Final = 1_000


class _Known(NamedTuple):
    """A description, by its digest, and when the broker was asked for it last, on the monotonic clock."""

    digest: bytes
    described: Described
    asked_ms: int


class Registry:
    """What one queue knows of it. `own` are the tasks that this very program declares; `empty` says that nothing was
    registered when the broker was asked last.
    """

    def __init__(self, own: TaskRegistry, namespace: str, mono_ms: Callable[[], int]) -> None:
        self._own = own
        self._namespace = namespace
        self._mono_ms = mono_ms
        self._known: dict[str, _Known] = {}
        self._own_described: dict[str, Described] = {}
        self._link: Link | None = None
        self.empty: bool = False
        self._said_empty: bool = False

    async def resolved(self, session: Session, named: NamedTask[R], *, asks: bool) -> NamedTask[R]:
        """The task with what its declaration says, where that is known.

        Raises `UnknownTask` for a name that is not registered, `BrokerUnavailable` where the broker did not say so in
        time, and `Unsupported` where a newer release declares what this one does not know.
        """
        if named.task in self._own:
            return named.as_described(self._described_here(named.task))
        if not asks:
            return named.as_described(None)
        if session.link is not self._link:
            # The queue was entered again, and perhaps at another broker.
            self._link = session.link
            self._known.clear()
            self.empty = False
        known = self._known.get(named.task)
        # What was known when the broker was last there holds as long as it is away.
        if known is not None and (self._is_fresh(known) or not session.link.connected):
            return named.as_described(known.described)
        return await self._asked(session, named)

    def _is_fresh(self, known: _Known) -> bool:
        return self._mono_ms() - known.asked_ms < REGISTRY_FRESH_MS

    def _described_here(self, name: str) -> Described:
        described = self._own_described.get(name)
        if described is None:
            described = self._own_described[name] = Described(name, description_of(self._own.get(name)))
        return described

    async def _asked(self, session: Session, named: NamedTask[R]) -> NamedTask[R]:
        try:
            page = await session.questions.registered([named.task])
        except Unsupported:
            # A broker from before there was a registry.
            return named.as_described(None)
        except DeadlineExceeded:
            reason = f"it did not say in time what task {named.task} declares, so nothing was submitted"
            raise BrokerUnavailable(url=session.link.url, reason=reason) from None
        self.empty = page.total == 0
        if self.empty and not named.unregistered and not self._said_empty:
            self._say_empty(named.task)
        self._said_empty &= self.empty
        if page.tasks:
            [entry] = page.tasks
            return named.as_described(self._remember(entry.name, entry.digest, entry.body))
        self._known.pop(named.task, None)
        if not self.empty and not named.unregistered:
            raise await self._unknown(session, named.task)
        return named.as_described(None)

    def _remember(self, name: str, digest: bytes, body: bytes) -> Described:
        known = self._known.pop(name, None)
        same = known is not None and known.digest == digest
        described = known.described if known is not None and same else Described(name, unpack_description(name, body))
        while len(self._known) >= TASKS_REMEMBERED_MAX:
            del self._known[next(iter(self._known))]
        self._known[name] = _Known(digest, described, self._mono_ms())
        return described

    def _say_empty(self, name: str) -> None:
        self._said_empty = True
        _log.warning(
            "no worker has registered any task in namespace %s yet: task %s is submitted by its name alone, with the "
            "default options and unchecked arguments",
            self._namespace, name,
        )  # fmt: skip

    async def _unknown(self, session: Session, name: str) -> UnknownTask:
        names = [entry.name async for entry in session.questions.all_registered(names_only=True)]
        if len(names) <= _COMPARED_HERE:
            near = _nearest(name, names)
        else:
            near = await asyncio.to_thread(_nearest, name, names)
        meant = f"; did you mean {' or '.join(near)}?" if near else "."
        known = ", ".join(near) or f"{len(names)} others"
        return UnknownTask(
            f"no task {name!r} is registered in namespace {self._namespace}{meant} A worker registers its tasks when "
            f"it connects; to submit the name all the same, write queue.named({name!r}, unregistered=True), or "
            "--unregistered on the command line",
            task=name,
            known=known,
        )


def _nearest(name: str, names: list[str]) -> list[str]:
    """Names that may have been meant: those that end alike, as where the module was left out, then the most alike."""
    last = name.rpartition(".")[2]
    alike = [each for each in names if each.rpartition(".")[2] == last and each != name]
    return list(dict.fromkeys([*alike, *get_close_matches(name, names, _NEAREST_MAX)]))[:_NEAREST_MAX]
