"""What the soak's producer was promised, on disk: each acknowledged job and the states in which it may be found.

The producer writes; the audit at the end reads the file again and asks the broker of every job in it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from aioqueue import JobNotFound, ResultExpired
from aioqueue.client.session import Session
from aioqueue.model.ids import id_bytes

VIOLATIONS_KEPT: Final = 20


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One acknowledged job, and how it may be found; a later entry of the same job replaces an earlier one."""

    job: str
    story: str
    states: list[str]


class Ledger:
    """Appends entries to a file, and counts what went wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab")
        self.acknowledged = 0
        self.wrong: Counter[str] = Counter()
        self.violations: list[str] = []

    def acknowledge(self, job: str, story: str, *states: str) -> None:
        """The broker has said that it has this job, or that it has another fate from now on."""
        self.acknowledged += 1
        self._file.write(msgspec.json.encode(Entry(job, story, list(states))) + b"\n")

    def violate(self, story: str, what: str) -> None:
        """Something was not as promised."""
        self.wrong[story] += 1
        if len(self.violations) < VIOLATIONS_KEPT:
            self.violations.append(f"{time.strftime('%H:%M:%S')} {story}: {what}")

    def entries(self) -> Iterator[Entry]:
        """The last entry of each job, read from the disk."""
        self._file.flush()
        last: dict[str, Entry] = {}
        with self.path.open("rb") as file:
            for line in file:
                entry = msgspec.json.decode(line, type=Entry)
                last[entry.job] = entry
        yield from last.values()

    async def audit(self, session: Session, entry: Entry) -> str:
        """The state in which the broker has the job, `… forgotten` for an end past its retention; judges it."""
        try:
            state = (await session.questions.info(id_bytes(entry.job))).state
            found = state
        except ResultExpired as error:
            state = str(error.fields["state"])
            found = f"{state}, forgotten"
        except JobNotFound:
            state = found = "unknown"
        if state not in entry.states:
            self.violate(entry.story, f"{entry.job} is {found}, and may be {' or '.join(entry.states)}")
        return found

    def close(self) -> None:
        self._file.close()
