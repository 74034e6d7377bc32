"""One connection on its own thread, and whole pieces of work sent there.

A hop to aiosqlite's thread and back costs some 70 us of waiting and far more CPU than one statement, so a commit of
many statements is one function that runs over there, not a call a statement.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar, cast

import aiosqlite

from aioqueue.archive.schema import BUSY_SECONDS
from aioqueue.errors import ArchiveFailed
from aioqueue.forked import never_free_in_child

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Hop:
    """A connection to the archive's file.

    Every error of SQLite, and of reading what a damaged file gives, comes out as `ArchiveFailed`.
    """

    def __init__(self, path: str, connection: aiosqlite.Connection) -> None:
        self._path = path
        self._connection = connection
        self._closed = False
        never_free_in_child(self, Hop._left_to_parent)

    @classmethod
    async def open(cls, path: str) -> Hop:
        """Connect in autocommit; transactions are begun and ended by the work itself."""
        try:
            return cls(path, await aiosqlite.connect(path, isolation_level=None, timeout=BUSY_SECONDS))
        except sqlite3.Error as error:
            raise ArchiveFailed(path=path, reason=str(error)) from error

    async def run(
        self, work: Callable[Concatenate[sqlite3.Connection, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs
    ) -> _T:
        """Do `work` on the connection's thread, after what was sent there before."""
        if self._closed:
            raise ArchiveFailed(path=self._path, reason="it is closed")
        connection = self._connection
        try:
            # aiosqlite has no public way to run a function on its thread; `_execute` is what all of its calls are.
            doing = connection._execute(work, connection._conn, *args, **kwargs)  # type: ignore[no-untyped-call]
            return cast(_T, await doing)
        except (sqlite3.Error, ValueError) as error:
            raise ArchiveFailed(path=self._path, reason=str(error)) from error

    async def aclose(self) -> None:
        """Close the connection after the work that was sent before; may be called twice."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._connection.close()
        except sqlite3.Error as error:
            raise ArchiveFailed(path=self._path, reason=str(error)) from error

    def _left_to_parent(self) -> object:
        """In a forked child: the file is the parent's, and so is closing it."""
        self._closed = True
        database, self._connection._connection = self._connection._connection, None
        return database
