"""The arguments of the living jobs: what core leaves to the shell.

Core knows where in the journal a job's arguments lie, and never what they are. Here they are in memory as far as there
is room: from the batch that submits the job until its end. Beyond the bound those that have been here longest go, and
are read back from the journal before their job is leased: `plan` says which come next, in the order of the lines, and
`fetch` reads them, whole stretches of the journal at a time. What was fetched stays until its job is leased, or until
a later plan has no place for it.

Arguments are added to the effects that say them: a run that is delivered (core leases nothing that is not at hand),
and an end that is kept so that the job can be submitted again (`fill` reads what is not here).

Called by the engine, which alone changes what is held, and by the overlay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple
from zlib import crc32

from aioqueue.core.effects import ArchiveJob, DeliverJob, Effect, ReviveJob
from aioqueue.core.nouns import Job
from aioqueue.core.places import length_in, unpack_place
from aioqueue.errors import JournalDamaged
from aioqueue.journal.base import Extent, Journal
from aioqueue.limits import (
    AHEAD_BYTES_MAX,
    AHEAD_JOBS,
    BODY_OVERHEAD_BYTES,
    GET_BYTES_MAX,
    GET_EXTENTS_MAX,
    GET_GAP_BYTES,
)
from aioqueue.model.records import FinishedJob
from aioqueue.model.states import TERMINAL, JobState

_SUCCEEDED = JobState.SUCCEEDED
# Arguments to be read: the home, and the place there.
Wanted = tuple[int, int]
# When memory is full, a 64th of it is let go at once: finding the oldest costs a look at those that left before.
_EVICTED_PART: Final = 64


class Plan(NamedTuple):
    """Jobs whose arguments are to be fetched, and where they lie now: a job may be carried on while they are read."""

    jobs: list[Job]
    wanted: list[Wanted]


class Bodies:
    """As many of them as fit into `bytes_max` bytes, by job; all, where that is None, for a journal that forgets."""

    def __init__(self, journal: Journal | None = None, bytes_max: int | None = None, path: str = "") -> None:
        self._journal = journal
        self._path = path
        # A part of the room is for what is read ahead; not less than is read in one go, or it would be read in crumbs.
        quarter = AHEAD_BYTES_MAX if bytes_max is None else bytes_max // 4
        self.ahead_bytes_max = max(GET_BYTES_MAX, min(AHEAD_BYTES_MAX, quarter))
        self.bytes_max = None if bytes_max is None else max(0, bytes_max - self.ahead_bytes_max)
        self._bytes = 0
        # In the order in which they came.
        self._held: dict[bytes, bytes] = {}
        # What was read ahead. `_planned` is how many that were, or will be when the fetch is done.
        self._ahead: dict[bytes, bytes] = {}
        self._planned = 0
        self._turn = 0
        # Ends whose arguments must be read before they are archived, by job.
        self._unread: dict[bytes, ArchiveJob] = {}
        # What is being read at this moment.
        self._reading: list[Sequence[Wanted]] = []

    # --- what is at hand --------------------------------------------------------------------------------------------

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._held or job_id in self._ahead

    def are_complete(self, living: int) -> bool:
        """Whether the arguments of all living jobs are here, as they mostly are."""
        return len(self._held) + len(self._ahead) == living

    def find(self, job_id: bytes) -> bytes | None:
        """The living job's arguments, if they are here."""
        body = self._held.get(job_id)
        return self._ahead.get(job_id) if body is None else body

    def take(self, arguments: Mapping[bytes, bytes], effects: Iterable[Effect]) -> None:
        """A batch was decided: keep the arguments of its new jobs, and add what its effects need."""
        held, ahead, freed = self._held, self._ahead, 0
        if arguments:
            held.update(arguments)
            self._bytes += sum(map(len, arguments.values())) + BODY_OVERHEAD_BYTES * len(arguments)
        for effect in effects:
            if type(effect) is DeliverJob:
                # What was read ahead was for this; should the run be given back, it is read again.
                body = held.get(effect.id)
                effect.body = ahead.pop(effect.id) if body is None else body
            elif type(effect) is ArchiveJob:
                # `_end` by hand for nearly all ends: the arguments are here, and nobody needs them any more.
                finished = effect.finished
                if finished.state is _SUCCEEDED and (body := held.pop(finished.id, None)) is not None:
                    freed += len(body) + BODY_OVERHEAD_BYTES
                else:
                    self._end(effect)
        self._bytes -= freed
        if self.bytes_max is not None and self._bytes > self.bytes_max:
            self._evict(self.bytes_max)

    def take_replayed(self, arguments: Mapping[bytes, bytes], effects: Iterable[Effect], *, owed: bool) -> None:
        """A batch was replayed: keep what there is room for, the oldest first, for they are leased first.

        Where its effects are `owed`, its ends are to be archived.
        """
        if self.bytes_max is None or self._bytes < self.bytes_max:
            self._held.update(arguments)
            self._bytes += sum(map(len, arguments.values())) + BODY_OVERHEAD_BYTES * len(arguments)
        for effect in effects:
            if type(effect) is ArchiveJob:
                self._end(effect)
                if not owed:
                    self._unread.pop(effect.finished.id, None)
            elif type(effect) is ReviveJob:
                # The requeue is durable, so that end is not archived any more; nothing may be kept for it.
                self._unread.pop(effect.id, None)

    def _end(self, effect: ArchiveJob) -> None:
        finished = effect.finished
        body = self._held.pop(finished.id, None)
        if body is not None:
            self._bytes -= len(body) + BODY_OVERHEAD_BYTES
        else:
            body = self._ahead.pop(finished.id, None)
        if finished.state is not _SUCCEEDED:
            if body is not None:
                finished.args = body
            elif length_in(effect.place):
                self._unread[finished.id] = effect

    def _evict(self, bytes_max: int) -> None:
        """The oldest go: the newest are of use to queues that are short, and a long one is read in its order anyway."""
        enough = bytes_max - bytes_max // _EVICTED_PART
        left, oldest = self._bytes, []
        for job_id, body in self._held.items():
            if left <= enough:
                break
            left -= len(body) + BODY_OVERHEAD_BYTES
            oldest.append(job_id)
        for job_id in oldest:
            del self._held[job_id]
        self._bytes = left

    # --- reading ahead ----------------------------------------------------------------------------------------------

    @property
    def runs_low(self) -> bool:
        """Whether more than half of what was planned has been leased: time to plan again."""
        return 2 * len(self._ahead) < self._planned

    def plan(self, missing: Sequence[Job], upcoming: Iterator[Job]) -> Plan:
        """What to fetch now: those that somebody waits for, then those that come next. `fetch` is to follow if any.

        What was fetched for an older plan and has no place in this one may be evicted from now on, so that what one
        line does not take is not held against another for ever.
        """
        self._turn += 1
        start = self._turn % len(missing) if missing else 0
        room = self.ahead_bytes_max
        held, ahead = self._held, self._ahead
        kept: dict[bytes, bytes] = {}
        wanted: dict[bytes, Job] = {}
        for job in (*missing[start:], *missing[:start], *islice(upcoming, AHEAD_JOBS)):
            job_id = job.id
            if job_id in held or job_id in wanted or job_id in kept:
                continue
            room -= length_in(job.place) + BODY_OVERHEAD_BYTES
            if room < 0 and (kept or wanted):
                break
            if job_id in ahead:
                kept[job_id] = ahead.pop(job_id)
            else:
                wanted[job_id] = job
        self._held.update(self._ahead)
        self._bytes += sum(map(len, self._ahead.values())) + BODY_OVERHEAD_BYTES * len(self._ahead)
        self._ahead = kept
        self._planned = len(kept) + len(wanted)
        jobs = list(wanted.values())
        plan = Plan(jobs, [(job.home, job.place) for job in jobs])
        if plan.jobs:
            self._reading.append(plan.wanted)
        return plan

    async def fetch(self, plan: Plan) -> None:
        """Read what was planned, so that it can be leased. Raises `JournalError`."""
        try:
            bodies = await self.read(plan.wanted)
        finally:
            self._reading.remove(plan.wanted)
        for job, body in zip(plan.jobs, bodies, strict=True):
            if job.state not in TERMINAL and job.id not in self._held:
                self._ahead[job.id] = body

    # --- ends -------------------------------------------------------------------------------------------------------

    def is_read(self, finished: FinishedJob) -> bool:
        """Whether an end has its arguments, as far as it is to have any."""
        return self.unread_bytes(finished) == 0

    def unread_bytes(self, finished: FinishedJob) -> int:
        """How long the arguments are that an end does not have yet."""
        unread = self._unread.get(finished.id)
        return 0 if unread is None or unread.finished is not finished else length_in(unread.place)

    async def fill(self, ends: Iterable[FinishedJob]) -> None:
        """Add the arguments to those of the ends that do not have them. Raises `JournalError`."""
        if not self._unread:
            return
        unread = [self._unread[end.id] for end in ends if not self.is_read(end)]
        bodies = await self.read([(effect.home, effect.place) for effect in unread])
        for effect, body in zip(unread, bodies, strict=True):
            effect.finished.args = body
            if self._unread.get(effect.finished.id) is effect:
                del self._unread[effect.finished.id]

    # --- reading ----------------------------------------------------------------------------------------------------

    def oldest_needed(self) -> int | None:
        """The lowest position that an end still needs or that is being read, None for none: it must not be trimmed.

        Those of living jobs are not among them: their homes are known to core.
        """
        homes = [effect.home for effect in self._unread.values()]
        homes += [home for reading in self._reading for home, _ in reading]
        return min(homes, default=None)

    async def read(self, wanted: Sequence[Wanted]) -> list[bytes]:
        """The arguments that lie there, in their order. Raises `JournalError`: `JournalDamaged` for other bytes."""
        assert self._journal is not None
        found = [b""] * len(wanted)
        self._reading.append(wanted)
        try:
            stretches = _stretches(wanted)
            while stretches:
                part = _one_go(stretches)
                del stretches[: len(part)]
                data = await self._journal.get_many([stretch.extent for stretch in part])
                for stretch, read in zip(part, data, strict=True):
                    self._cut(stretch, read, found)
        finally:
            self._reading.remove(wanted)
        return found

    def _cut(self, stretch: _Stretch, data: bytes, found: list[bytes]) -> None:
        home, start, _ = stretch.extent
        for _, offset, length, crc, index in stretch.spots:
            body = data[offset - start : offset - start + length]
            if crc32(body) != crc:
                reason = f"the body at {offset} is another one"
                raise JournalDamaged(path=self._path, where=f"batch {home}", reason=reason)
            found[index] = body


# Home, offset, length, CRC, and which of those that were asked for. A plain tuple: a deep backlog is read through these
# one by one, and what a named one costs in each step is a tenth of a job.
_Spot = tuple[int, int, int, int, int]


class _Stretch(NamedTuple):
    """Bodies of one batch that lie next to each other."""

    extent: Extent
    spots: list[_Spot]


def _stretches(wanted: Iterable[Wanted]) -> list[_Stretch]:
    """What is wanted, in as few stretches as can be; small gaps are read with them."""
    spots: list[_Spot] = [(home, *unpack_place(place), index) for index, (home, place) in enumerate(wanted)]
    spots.sort()
    stretches: list[_Stretch] = []
    at, start, end = 0, 0, 0
    together: list[_Spot] = []
    for spot in spots:
        home, offset, length, _, _ = spot
        if home != at or offset - end > GET_GAP_BYTES or offset + length - start > GET_BYTES_MAX:
            if together:
                stretches.append(_Stretch(Extent(at, start, end - start), together))
            at, start, end, together = home, offset, offset, []
        end = max(end, offset + length)
        together.append(spot)
    if together:
        stretches.append(_Stretch(Extent(at, start, end - start), together))
    return stretches


def _one_go(stretches: Sequence[_Stretch]) -> list[_Stretch]:
    """The first of them: as many as are read in one go. Appends wait for that."""
    part: list[_Stretch] = []
    room = GET_BYTES_MAX
    for stretch in stretches[:GET_EXTENTS_MAX]:
        room -= stretch.extent.length
        if part and room < 0:
            break
        part.append(stretch)
    return part
