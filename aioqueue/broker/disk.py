"""The space that is left on the disk, looked at before it is used up.

Below the low-water mark no new jobs come in (`DiskLow`) and the journal keeps no history, while settles and the
archive go on with what is left; far below it a file that was laid down beforehand is given up for them. With a quarter
more than the mark free, all is as before: a disk that hovers about the mark does not flap. No new jobs come in either
while the journal's own file is not where it was (`JournalGone`). Looking is all that this module does by itself; the
broker tells core, and an append that fails for want of space still stops the broker.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from typing import Final

from aioqueue.errors import DiskLow, JournalGone, Refused
from aioqueue.limits import FILE_MODE
from aioqueue.model.sizes import size_text

log = logging.getLogger(__name__)

RESERVE_SUFFIX: Final = ".reserve"
# Of the low-water mark: what must be free beyond it before new jobs come in again; what the reserve has; and below
# which that is given up.
_AGAIN: Final = 4
_RESERVED: Final = 16
_CRITICAL: Final = 4


def free_bytes(paths: Sequence[str]) -> int:
    """What this user may still write to the fullest of the disks that these files are on."""
    return min(shutil.disk_usage(os.path.dirname(os.path.realpath(path))).free for path in paths)


class Reserve:
    """A file of real blocks that is deleted when space is needed most; one that a killed broker left is taken over."""

    def __init__(self, path: str, size: int) -> None:
        self.path = path
        self.size = size
        self.held = os.path.exists(path)
        self._refused = False

    def take(self) -> None:
        """Lay the file down; where the system or the disk will not, there is none."""
        if not hasattr(os, "posix_fallocate"):
            return
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
            try:
                os.posix_fallocate(handle, 0, self.size)
            finally:
                os.close(handle)
            self.held = True
            self._refused = False
        except OSError as error:
            if not self._refused:
                log.info("no reserve of %s at %s: %s", size_text(self.size), self.path, error)
            self._refused = True
            self.release()

    def release(self) -> None:
        """Give the space back to the disk."""
        self.held = False
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("the reserve %s cannot be removed: %s", self.path, error)


class DiskWatch:
    """What was last seen: `free` bytes, `low` while they are too few, `gone` while the journal's file is not there.

    `needed` is the low-water mark.

    `look` reads the disk and may wait for it, so it belongs into a thread.
    """

    def __init__(
        self, path: str, needed: int, others: Sequence[str] = (), free: Callable[[Sequence[str]], int] = free_bytes
    ) -> None:
        self.path = path
        self.needed = needed
        self.free = 0
        self.low: DiskLow | None = None
        self.gone: JournalGone | None = None
        self._paths = (path, *others)
        self._read = free
        # Which file the broker has open, whatever stands at that path by now.
        self._journal = os.path.realpath(path)
        self._identity: tuple[int, int] | None = None
        self._reserve = Reserve(path + RESERVE_SUFFIX, needed // _RESERVED)
        # What could not be looked at the last time: it is told when that begins, and not at every look.
        self._unseen: set[str] = set()

    def look(self) -> bool:
        """Look at the disk; whether the door has to be opened or shut."""
        was_shut = self.shut
        self._look_for_journal()
        self._look_for_room()
        return was_shut is not self.shut

    @property
    def shut(self) -> Refused | None:
        """Why new jobs are not taken."""
        return self.gone or self.low

    def _look_for_room(self) -> None:
        try:
            self.free = self._read(self._paths)
        except OSError as error:
            # Where the journal's folder is gone that has been told, and this says nothing new.
            self._tell_unseen("the free space of", error, known=self.gone is not None)
            return
        self._unseen.discard("the free space of")
        was_low = self.low is not None
        if was_low and self.free >= self.needed + self.needed // _AGAIN:
            self.low = None
            log.warning("%s are free on the disk of %s: new jobs are taken again", size_text(self.free), self.path)
        elif not was_low and self.free < self.needed:
            self.low = DiskLow(free=self.free, needed=self.needed, path=self.path)
            log.warning("%s", self.low)
        self._keep_reserve()

    def _look_for_journal(self) -> None:
        """Notice if the journal's file is not where it was: what has no name is gone when its last user ends."""
        try:
            found = os.stat(self._journal)
            identity = (found.st_dev, found.st_ino)
        except FileNotFoundError:
            identity = None
        except OSError as error:
            self._tell_unseen("the file", error)
            return
        self._unseen.discard("the file")
        if self._identity is None:
            self._identity = identity
        elif identity == self._identity:
            if self.gone is not None:
                log.warning("%s is back where it was", self.path)
            self.gone = None
        elif self.gone is None:
            self.gone = JournalGone(path=self.path)
            log.error("%s", self.gone)

    def _tell_unseen(self, what: str, error: OSError, *, known: bool = False) -> None:
        if what not in self._unseen and not known:
            log.warning("%s %s cannot be read: %s", what, self.path, error)
        self._unseen.add(what)

    def _keep_reserve(self) -> None:
        reserve = self._reserve
        if reserve.held and self.free < self.needed // _CRITICAL:
            log.warning("giving up %s of %s, for what runs to come to its end", size_text(reserve.size), reserve.path)
            reserve.release()
        elif not reserve.held and self.low is None and self.free >= self.needed + reserve.size:
            reserve.take()

    def close(self) -> None:
        """The broker ends in good order, and leaves no reserve behind."""
        self._reserve.release()
