"""The verification of a journal from the command line: its bytes by `journal.check`, their meaning by replay."""

from __future__ import annotations

import os
import sys
from typing import Final

import msgspec

from aioqueue.cli.outcome import DONE, FAILED, out, say
from aioqueue.client.documents import document, json_text
from aioqueue.clock import SystemClock
from aioqueue.core import levels
from aioqueue.core.machine import IllegalChange
from aioqueue.core.partition import Partition
from aioqueue.core.records import decode_events
from aioqueue.errors import JournalDamaged
from aioqueue.journal.batch import Batch, BatchKind
from aioqueue.journal.check import CheckReport, check_journal
from aioqueue.journal.epoch import stated_level
from aioqueue.model.growth import LEVEL_FIRST
from aioqueue.monitor.text import plain

_PROGRESS_NS: Final = 200_000_000


async def check_and_tell(path: str, *, json: bool) -> int:
    """Verify and print; the exit code. Raises what `check_journal` raises."""
    replay = Replay(path)
    progress = Progress(path)

    def visit(batch: Batch) -> None:
        progress.take(batch)
        replay.take(batch)

    try:
        report = await check_journal(path, visit)
    finally:
        progress.clear()
    if replay.baseless:
        problem = f"the log begins at batch {replay.baseless}, and no batch says that it may"
        report = msgspec.structs.replace(report, problems=[*report.problems, problem], ok=False)
    if json:
        told = {"events": replay.events, "jobs": replay.jobs, "level": replay.level}
        out(json_text({**document(report), **told}, indent=2))
    else:
        out("\n".join(_lines(report, replay)))
    if report.ok:
        return DONE
    count = len(report.problems)
    problems = f"{count} problem{'' if count == 1 else 's'}"
    say(f"{report.path} is damaged: {problems} found; restore a backup, or save what verifies with --salvage")
    return FAILED


class Replay:
    """The journal's events, decoded and made so again in a fresh partition.

    After a gap, or a batch that does not replay, the state is no longer the journal's: later batches are only decoded,
    for every further complaint would follow from the first.
    """

    def __init__(self, path: str) -> None:
        self.events = 0
        self.level = LEVEL_FIRST
        self._path = path
        self._partition = Partition()
        self._after = 0
        self._whole = True

    @property
    def jobs(self) -> int | None:
        """How many jobs live at the end; None if that cannot be known."""
        return len(self._partition.state.jobs) if self._whole and not self._partition.state.partial else None

    @property
    def baseless(self) -> int:
        """Where a log begins of which nothing says that it may; 0 for one that is whole."""
        return self._partition.state.base if self._whole and self._partition.state.partial else 0

    def take(self, batch: Batch) -> None:
        """Raises `ValueError` for a batch that no broker could go on from, `JournalNewer` for a newer version's."""
        if not self._after:
            self._partition.start_at(batch.position)
        elif batch.position != self._after + 1:
            self._whole = False
        self._after = batch.position
        if batch.kind is not BatchKind.EVENTS:
            stated = stated_level(batch.events, self._path, batch.position)
            self.level = max(self.level, levels.refuse_newer(stated, self._path))
            return
        whole, self._whole = self._whole, False
        try:
            events = decode_events(batch.events, self._path)
        except JournalDamaged as error:
            raise ValueError(f"its events cannot be read: {error.reason}") from None
        self.events += len(events)
        if not whole:
            return
        try:
            self._partition.replay(events, batch.bodies, batch.position, batch.wall_ms)
        except (IllegalChange, KeyError, ValueError) as error:
            raise ValueError(f"it cannot be replayed: {error}") from None
        self._whole = True


class Progress:
    """How far a long check is, on stderr, where that is a terminal."""

    def __init__(self, path: str) -> None:
        self._total = max(1, os.path.getsize(path)) if os.path.isfile(path) and sys.stderr.isatty() else 0
        self._done = 0
        self._told_ns = SystemClock.mono_ns()
        self._shown = False

    def take(self, batch: Batch) -> None:
        if not self._total:
            return
        self._done += len(batch.events) + len(batch.bodies)
        if SystemClock.mono_ns() - self._told_ns >= _PROGRESS_NS:
            self._told_ns = SystemClock.mono_ns()
            self._shown = True
            percent = min(99, self._done * 100 // self._total)
            sys.stderr.write(f"\rchecked {percent:>2} %, batch {batch.position:,}")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _lines(report: CheckReport, replay: Replay) -> list[str]:
    written = f"format {report.format}, level {replay.level}, epoch {report.epoch}"
    lines = [
        f"journal:   {plain(report.path)}",
        f"id:        {report.journal_id or 'unknown'}, {written}",
        f"batches:   {report.batches:,}, positions {report.first_position:,} to {report.last_position:,}",
        *([f"history:   {report.history:,} batches below these, which no start needs"] if report.history else []),
        f"events:    {replay.events:,} ({report.events_bytes:,} bytes, and {report.bodies_bytes:,} of bodies)",
        f"jobs:      {'unknown' if replay.jobs is None else f'{replay.jobs:,} living'}",
    ]
    lines.extend(f"problem:   {plain(problem)}" for problem in report.problems)
    lines.extend(f"note:      {plain(note)}" for note in report.notes)
    lines.append("the journal is whole" if report.ok else "the journal is damaged")
    return lines
