"""Jobs by a filter, in pages: the living first (newest submit first), then the finished (newest end).

A page looks at a bounded number of jobs, and says where the next one begins whether it found something or not: the
engine does nothing else while the living are looked at, and the archive's reader answers others too.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import count, islice
from typing import Final, NamedTuple

from msgspec import structs

from aioqueue.archive.base import JobFilter
from aioqueue.broker.history import brief, fitted, history
from aioqueue.broker.overlay import Overlay
from aioqueue.broker.translate.views import info_of_finished, info_of_living, with_kept
from aioqueue.core.nouns import Job
from aioqueue.core.state import State
from aioqueue.errors import BadOption
from aioqueue.limits import JOB_ID_BYTES, MIB, PAGE_LIVING_LOOKED_MAX
from aioqueue.model.bodies import unpack_failure
from aioqueue.model.states import TERMINAL, JobState
from aioqueue.model.views import JobInfo, Run

# A page's cursor says where it stopped: among the living, by a spot; or in the archive, by the archive's own cursor.
_LIVING: Final = b"L"
_ARCHIVED: Final = b"A"
_SPOT: Final = struct.Struct(f">QQq{JOB_ID_BYTES}s")
# Stretches of the living that are held for who pages through them, and how many ids each has, 8 bytes apiece: it takes
# 2 ms to make one, and less than 10 to get there among a million.
_HELD_MAX: Final = 4
_STRETCH_JOBS: Final = 100_000
# Living jobs of one page whose errors are looked up: each is a question to the archive.
_ERRORS_LOOKED_MAX: Final = 50
# Of a page, for runs: the oldest of a job with very many are left out.
_RUNS_BYTES: Final = 1 * MIB


class _Spot(NamedTuple):
    """Where a page of the living stopped: in the stretch of this number, if it is held, at the last job that was seen,
    and above so many others. These may be fewer by now, and never more.
    """

    number: int
    place: int
    submitted_ms: int
    id: bytes


class _Stretch(NamedTuple):
    """Ids of living jobs in the order of their submits; `lowest` is how many jobs stood below the first."""

    lowest: int
    ids: list[bytes]


class LivingPage(NamedTuple):
    """The living part of a page. `following` is the next page's cursor where more of the living are to be looked at."""

    jobs: list[JobInfo]
    following: bytes


class Page(NamedTuple):
    """A page of jobs, the runs of each where they were asked for, and the cursor behind it, empty at the end."""

    jobs: list[JobInfo]
    runs: list[list[Run]]
    following: bytes


class Listings:
    """The living jobs of one partition, in pages.

    A dict cannot be entered in its middle, but by passing over what stands before it, from the nearer end. So whoever
    wants a second page gets a stretch of the ids as they are then, which is held for the pages behind it; the jobs
    themselves are looked at when their turn comes. A stretch that was passed, or dropped for another, is followed by
    one that is made anew, and entered where the cursor says.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._held: dict[int, _Stretch] = {}
        self._numbers = count(1)

    def page(self, where: JobFilter, limit: int, after: bytes) -> LivingPage:
        """Living jobs, newest submit first. Where the last job of a page ends before the next one is asked for, and the
        stretch behind it is not held, those that were submitted in the same millisecond may be seen twice.

        Raises `BadOption` for a cursor that no page gave.
        """
        if after[:1] == _ARCHIVED or (not after and not self._may_hold(where)):
            return LivingPage([], b"")
        if where.ids is not None and where.ids[0] == where.ids[1]:
            job = self._state.jobs.get(where.ids[0])
            return LivingPage([self._info(job)] if job is not None and _matches(where, job) else [], b"")
        if not after:
            everything = reversed(self._state.jobs.values())
            return self._collect(where, limit, everything, 0, len(self._state.jobs), _Spot(0, 0, 0, b""))
        number, stretch, spot = self._enter(after)
        known, lowest = self._state.jobs, stretch.lowest
        living = (known.get(stretch.ids[place - lowest]) for place in range(spot.place - 1, lowest - 1, -1))
        return self._collect(where, limit, living, lowest, spot.place, spot._replace(number=number))

    def _collect(
        self, where: JobFilter, limit: int, jobs: Iterable[Job | None], lowest: int, place: int, spot: _Spot
    ) -> LivingPage:
        """A page of these jobs, which stand from `place` down to `lowest`, behind `spot`."""
        found: list[JobInfo] = []
        wanted = min(limit, _ERRORS_LOOKED_MAX) if where.error else limit
        last: Job | None = None
        for looked, job in enumerate(jobs, start=1):
            if job is not None:
                last = job
                if _matches(where, job):
                    found.append(self._info(job))
            if len(found) == wanted or looked >= PAGE_LIVING_LOOKED_MAX:
                return LivingPage(found, _cursor(spot, place - looked, last))
        self._held.pop(spot.number, None)
        return LivingPage(found, _cursor(spot, lowest, last) if lowest else b"")

    def _enter(self, after: bytes) -> tuple[int, _Stretch, _Spot]:
        """The stretch that a cursor goes on in, its number, and the spot there."""
        if after[:1] != _LIVING or len(after) != 1 + _SPOT.size:
            raise BadOption(option="after", value=after.hex(), reason="it is no cursor of an earlier page")
        spot = _Spot(*_SPOT.unpack_from(after, 1))
        number, stretch = spot.number, self._held.pop(spot.number, None)
        if stretch is None or not stretch.lowest < spot.place <= stretch.lowest + len(stretch.ids):
            number, stretch = next(self._numbers), self._stretch_at(spot.place)
            spot = spot._replace(place=min(spot.place, stretch.lowest + self._place_in(stretch, spot)))
            if len(self._held) >= _HELD_MAX:
                del self._held[next(iter(self._held))]
        self._held[number] = stretch
        return number, stretch, spot

    def _stretch_at(self, place: int) -> _Stretch:
        """The ids up to this place: no job that stood there has moved further up since it was told."""
        jobs = self._state.jobs
        end = min(place + 1, len(jobs))
        lowest = max(0, end - _STRETCH_JOBS)
        if end <= len(jobs) // 2:
            return _Stretch(lowest, list(islice(jobs, lowest, end)))
        ids = list(islice(reversed(jobs), len(jobs) - end, len(jobs) - lowest))
        ids.reverse()
        return _Stretch(lowest, ids)

    def _place_in(self, stretch: _Stretch, spot: _Spot) -> int:
        """Where in a stretch its job stands, or would. Not by sequence: a job that is tried again takes a new one."""
        jobs, ids, submitted_ms, job_id = self._state.jobs, stretch.ids, spot.submitted_ms, spot.id

        def submit_of(other: bytes) -> int:
            return jobs[other].submitted_ms

        end = bisect_right(ids, submitted_ms, key=submit_of)
        job = jobs.get(job_id)
        if job is None or job.submitted_ms != submitted_ms:
            return end
        first = bisect_left(ids, submitted_ms, key=submit_of)
        try:
            return ids.index(job_id, first, end)
        except ValueError:
            # The clock was set back meanwhile, so the submits are not in its order; or it stands below all of these.
            return ids.index(job_id) if job_id in ids else 0 if stretch.lowest else end

    def _may_hold(self, where: JobFilter) -> bool:
        """Whether any living job is in one of these queues and states; if not, a million others need no look."""
        states = [state for state in JobState if state not in TERMINAL and (not where.states or state in where.states)]
        return any(
            namespace == where.namespace and where.queue in ("", name) and any(queue.counts[state] for state in states)
            for (namespace, name), queue in self._state.queues.items()
        )

    def _info(self, job: Job) -> JobInfo:
        session = self._state.sessions.get(job.session)
        return info_of_living(job, session.name if session is not None else "", [])


def _cursor(spot: _Spot, place: int, last: Job | None) -> bytes:
    """Behind the job that was seen last, or behind the spot itself where none was that lives."""
    seen = (spot.submitted_ms, spot.id) if last is None else (last.submitted_ms, last.id)
    return _LIVING + _SPOT.pack(spot.number, place, *seen)


def _matches(where: JobFilter, job: Job) -> bool:
    """Whether a living job is one that the filter asks for; its error is looked up later, if it may have one."""
    spec = job.spec
    return (
        spec.namespace == where.namespace
        and (not where.states or job.state in where.states)
        and (not where.queue or spec.queue == where.queue)
        and (not where.task or spec.task == where.task)
        and where.since_ms <= job.submitted_ms
        and (not where.until_ms or job.submitted_ms < where.until_ms)
        and (where.ids is None or (where.ids[0] <= job.id <= where.ids[1] and job.id.endswith(where.tail)))
        and (not where.error or job.failures > 0)
    )


async def whole_page(
    overlay: Overlay, living: LivingPage, where: JobFilter, limit: int, after: bytes, *, runs: bool = False,
    args_bytes: int = 0,
) -> Page:  # fmt: skip
    """The page, filled up with finished jobs; with `runs` it has the headers and the runs of each.

    With `args_bytes` the finished jobs have their arguments, if they are no longer than that.
    """
    jobs = list(living.jobs)
    if where.error:
        jobs = [info for info in [await _with_error(overlay, info) for info in jobs] if _has_error(info, where.error)]
    following = living.following
    if not following and (not where.states or TERMINAL.intersection(where.states)):
        cursor = after[1:] if after[:1] == _ARCHIVED else b""
        rows, behind = await overlay.page(where, limit - len(living.jobs), cursor)
        found = [info_of_finished(row, []) for row in rows]
        if args_bytes:
            found = [with_kept(info, row, args_bytes) for info, row in zip(found, rows, strict=True)]
        jobs += found
        following = _ARCHIVED + behind if behind else b""
    if not runs:
        return Page([_brief(structs.replace(info, headers={})) for info in jobs], [], following)
    full = [fitted(await _history(overlay, info), 0, _RUNS_BYTES // limit) for info in jobs]
    return Page([_brief(info) for info in jobs], full, following)


async def _with_error(overlay: Overlay, info: JobInfo) -> JobInfo:
    """A living job with its last failure, which is in its runs only."""
    failed = [run for run in await overlay.runs(info.id) if run.body and run.generation == info.generation]
    return structs.replace(info, failure=unpack_failure(failed[-1].body)) if failed else info


def _has_error(info: JobInfo, error: str) -> bool:
    return info.failure is not None and error in f"{info.failure.type}: {info.failure.text}"


async def _history(overlay: Overlay, info: JobInfo) -> list[Run]:
    # Most jobs succeeded at once, and have nothing to be looked up.
    looked = info.generation > 0 or info.runs > (info.state == "succeeded")
    return history(info, await overlay.runs(info.id) if looked else [])


def _brief(info: JobInfo) -> JobInfo:
    """What a list shows of a job. A thousand tracebacks would not fit into a frame; `GetJob` has them."""
    return structs.replace(info, attempts=[], failure=brief(info.failure) if info.failure is not None else None)
