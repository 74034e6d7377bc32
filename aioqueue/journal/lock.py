"""One owner a journal: an advisory lock on a file beside it, with the owner's name written in.

`flock`, never `lockf`: the latter is given to one process twice, and is lost when any descriptor of the file is
closed. The file stays when the lock ends; removing it would let two processes lock two files of one name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from aioqueue.errors import JournalError, JournalInUse
from aioqueue.forked import in_child
from aioqueue.limits import FILE_MODE

SUFFIX: Final = ".lock"
_OWNER_BYTES_MAX: Final = 4096


class Owner(msgspec.Struct, frozen=True):
    """Who holds a journal, as the lock file says in JSON. `since` is an ISO 8601 time in UTC."""

    pid: int
    host: str
    since: str


class OwnerLock:
    """The lock of one journal, held from `acquire` to `release` or the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        # A copy would hold the lock for as long as the child lives; to close it takes nothing from the parent.
        in_child(self, OwnerLock.release)

    @classmethod
    def acquire(cls, path: str, wall_ms: int) -> OwnerLock:
        """Lock the journal at `path` (a real path) from `wall_ms`, milliseconds UTC, on.

        `JournalInUse`, which names the owner, if another process or another part of this one holds it.
        """
        try:
            descriptor = os.open(path + SUFFIX, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise JournalError(path=path, reason=f"its lock file cannot be opened: {error.strerror}") from error
        try:
            _lock(path, descriptor)
            since = datetime.fromtimestamp(wall_ms // 1000, UTC).isoformat()
            text = msgspec.json.encode(Owner(os.getpid(), platform.node(), since)) + b"\n"
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, text, 0)
        except OSError as error:
            os.close(descriptor)
            raise JournalError(path=path, reason=f"its lock file cannot be written: {error.strerror}") from error
        except JournalError:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def release(self) -> None:
        """Let go; a second call does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _lock(path: str, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise JournalError(path=path, reason=f"its lock file cannot be locked: {error.strerror}") from error
        raise JournalInUse(path=path, **_owner(descriptor)) from None


def _owner(descriptor: int) -> dict[str, Any]:
    """What the holder wrote; it may be between taking the lock and writing."""
    try:
        owner = msgspec.json.decode(os.pread(descriptor, _OWNER_BYTES_MAX, 0), type=Owner)
    except (OSError, ValueError):
        return {"pid": "unknown", "host": platform.node(), "since": "a moment ago"}
    return msgspec.structs.asdict(owner)
