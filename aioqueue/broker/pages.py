"""Jobs by state, queue and task, in pages: the living first (newest submit first), then the finished (newest end)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import dropwhile, islice
from typing import Final, NamedTuple

from msgspec import structs

from aioqueue.archive.base import JobFilter
from aioqueue.broker import translate as t
from aioqueue.broker.overlay import Overlay
from aioqueue.core.state import Job, State
from aioqueue.errors import BadOption
from aioqueue.limits import JOB_ID_BYTES
from aioqueue.model.states import TERMINAL, JobState
from aioqueue.model.views import JobInfo

Wanted = tuple[str, tuple[JobState, ...], str, str]

# A page's cursor says where it stopped: among the living, by the last job's submit and id, or in the archive, by the
# archive's own cursor.
_LIVING: Final = b"L"
_ARCHIVED: Final = b"A"
_PLACE: Final = struct.Struct(f">q{JOB_ID_BYTES}s")
TEXT_SHOWN: Final = 500


class LivingPage(NamedTuple):
    """The living part of a page. `following` is the next page's cursor where this part filled the page."""

    jobs: list[JobInfo]
    following: bytes


def living_page(state: State, wanted: Wanted, limit: int, after: bytes) -> LivingPage:
    """Living jobs, newest submit first. Where the last job of a page ends before the next one is asked for, those that
    were submitted in the same millisecond may be seen twice.

    Raises `BadOption` for a cursor that no page gave.
    """
    if after[:1] == _ARCHIVED:
        return LivingPage([], b"")
    namespace, states, queue, task = wanted
    found: list[JobInfo] = []
    for job in _behind(state, after):
        spec = job.spec
        if (
            spec.namespace == namespace
            and (not states or job.state in states)
            and (not queue or spec.queue == queue)
            and (not task or spec.task == task)
        ):
            session = state.sessions.get(job.session)
            found.append(_brief(t.info_of_living(job, session.name if session is not None else "", [])))
            if len(found) == limit:
                return LivingPage(found, _LIVING + _PLACE.pack(job.submitted_ms, job.id))
    return LivingPage(found, b"")


def _behind(state: State, after: bytes) -> Iterator[Job]:
    """The living jobs behind a cursor. Not by sequence: a job takes a new one when it is tried again."""
    jobs = reversed(state.jobs.values())
    if not after:
        return jobs
    if after[:1] != _LIVING or len(after) != 1 + _PLACE.size:
        raise BadOption(option="after", value=after.hex(), reason="it is no cursor of an earlier page")
    submitted_ms, job_id = _PLACE.unpack_from(after, 1)
    last = state.jobs.get(job_id)
    if last is None or last.submitted_ms != submitted_ms:
        return dropwhile(lambda job: job.submitted_ms > submitted_ms, jobs)
    return islice(dropwhile(lambda job: job is not last, jobs), 1, None)


async def whole_page(
    overlay: Overlay, living: LivingPage, wanted: Wanted, limit: int, after: bytes
) -> tuple[list[JobInfo], bytes]:
    """The page, filled up with finished jobs, and the cursor behind it, empty at the end."""
    found = living.jobs
    if living.following or (wanted[1] and not TERMINAL.intersection(wanted[1])):
        return found, living.following
    cursor = after[1:] if after[:1] == _ARCHIVED else b""
    rows, following = await overlay.page(JobFilter(*wanted), limit - len(found), cursor)
    return [*found, *(_brief(t.info_of_finished(row, [])) for row in rows)], _ARCHIVED + following if following else b""


def _brief(info: JobInfo) -> JobInfo:
    """What a list shows of a job. A thousand tracebacks and headers would not fit into a frame; `GetJob` has them."""
    failure = info.failure
    if failure is not None:
        failure = structs.replace(failure, text=failure.text[:TEXT_SHOWN], traceback="")
    return structs.replace(info, headers={}, attempts=[], failure=failure)
