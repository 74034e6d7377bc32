"""Jobs by a filter, in pages: the living first (newest submit first), then the finished (newest end).

A page looks at a bounded number of jobs, and says where the next one begins whether it found something or not: the
engine does nothing else while the living are looked at, and the archive's reader answers others too.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import count
from typing import Final, NamedTuple

from msgspec import structs

from aioqueue.archive.base import JobFilter
from aioqueue.broker import translate as t
from aioqueue.broker.history import brief, fitted, history
from aioqueue.broker.overlay import Overlay
from aioqueue.core.state import Job, State
from aioqueue.errors import BadOption
from aioqueue.limits import JOB_ID_BYTES, MIB, PAGE_LIVING_LOOKED_MAX
from aioqueue.model.bodies import unpack_failure
from aioqueue.model.states import TERMINAL, JobState
from aioqueue.model.views import JobInfo, Run

# A page's cursor says where it stopped: among the living, by the list that is held, the place in it and the last job's
# submit and id; or in the archive, by the archive's own cursor.
_LIVING: Final = b"L"
_ARCHIVED: Final = b"A"
_PLACE: Final = struct.Struct(f">QQq{JOB_ID_BYTES}s")
# Lists of living jobs that are held for who pages through them: 8 bytes a job each.
_HELD_MAX: Final = 4
# Living jobs of one page whose errors are looked up: each is a question to the archive.
_ERRORS_LOOKED_MAX: Final = 50
# Of a page, for runs: the oldest of a job with very many are left out.
_RUNS_BYTES: Final = 1 * MIB


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

    A dict cannot be entered in its middle. So whoever wants a second page gets a list of the ids as they are then,
    which is held for the pages behind it; the jobs themselves are looked at when their turn comes. A list that was
    dropped for another is made anew, and entered where the cursor says.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._held: dict[int, list[bytes]] = {}
        self._numbers = count(1)

    def page(self, where: JobFilter, limit: int, after: bytes) -> LivingPage:
        """Living jobs, newest submit first. Where the last job of a page ends before the next one is asked for, and the
        list is not held any more, those that were submitted in the same millisecond may be seen twice.

        Raises `BadOption` for a cursor that no page gave.
        """
        if after[:1] == _ARCHIVED or (not after and not self._may_hold(where)):
            return LivingPage([], b"")
        if where.ids is not None and where.ids[0] == where.ids[1]:
            job = self._state.jobs.get(where.ids[0])
            return LivingPage([self._info(job)] if job is not None and _matches(where, job) else [], b"")
        if not after:
            jobs = reversed(self._state.jobs.values())
            return self._collect(where, limit, jobs, 0, len(self._state.jobs))
        number, ids, end = self._enter(after)
        known = self._state.jobs
        living = (known.get(ids[index]) for index in range(end - 1, -1, -1))
        return self._collect(where, limit, living, number, end)

    def _collect(self, where: JobFilter, limit: int, jobs: Iterable[Job | None], number: int, end: int) -> LivingPage:
        found: list[JobInfo] = []
        wanted = min(limit, _ERRORS_LOOKED_MAX) if where.error else limit
        last: Job | None = None
        for looked, job in enumerate(jobs, start=1):
            if job is not None:
                last = job
                if _matches(where, job):
                    found.append(self._info(job))
            if (len(found) == wanted or looked >= PAGE_LIVING_LOOKED_MAX) and last is not None:
                place = _PLACE.pack(number, end - looked, last.submitted_ms, last.id)
                return LivingPage(found, _LIVING + place)
        self._held.pop(number, None)
        return LivingPage(found, b"")

    def _enter(self, after: bytes) -> tuple[int, list[bytes], int]:
        """The list that a cursor goes on in: its number, the ids, and the place behind the next one."""
        if after[:1] != _LIVING or len(after) != 1 + _PLACE.size:
            raise BadOption(option="after", value=after.hex(), reason="it is no cursor of an earlier page")
        number, end, submitted_ms, job_id = _PLACE.unpack_from(after, 1)
        ids = self._held.pop(number, None)
        if ids is None or end > len(ids):
            number, ids = next(self._numbers), list(self._state.jobs)
            end = self._place_of(ids, submitted_ms, job_id)
            if len(self._held) >= _HELD_MAX:
                del self._held[next(iter(self._held))]
        self._held[number] = ids
        return number, ids, end

    def _place_of(self, ids: list[bytes], submitted_ms: int, job_id: bytes) -> int:
        """Where a job stands, or would. Not by sequence: a job takes a new one when it is tried again."""
        jobs = self._state.jobs

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
            # The clock was set back meanwhile, so the submits are not in its order.
            return ids.index(job_id)

    def _may_hold(self, where: JobFilter) -> bool:
        """Whether any living job is in one of these queues and states; if not, a million others need no look."""
        states = [state for state in JobState if state not in TERMINAL and (not where.states or state in where.states)]
        return any(
            namespace == where.namespace and where.queue in ("", name) and any(queue.counts[state] for state in states)
            for (namespace, name), queue in self._state.queues.items()
        )

    def _info(self, job: Job) -> JobInfo:
        session = self._state.sessions.get(job.session)
        return t.info_of_living(job, session.name if session is not None else "", [])


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
        and (where.ids is None or where.ids[0] <= job.id <= where.ids[1])
        and (not where.error or job.failures > 0)
    )


async def whole_page(
    overlay: Overlay, living: LivingPage, where: JobFilter, limit: int, after: bytes, *, runs: bool = False
) -> Page:
    """The page, filled up with finished jobs; with `runs` it has the headers and the runs of each."""
    jobs = living.jobs
    if where.error:
        jobs = [info for info in [await _with_error(overlay, info) for info in jobs] if _has_error(info, where.error)]
    following = living.following
    if not following and (not where.states or TERMINAL.intersection(where.states)):
        cursor = after[1:] if after[:1] == _ARCHIVED else b""
        rows, behind = await overlay.page(where, limit - len(living.jobs), cursor)
        jobs = [*jobs, *(t.info_of_finished(row, []) for row in rows)]
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
