"""Jobs by state, queue and task, in pages: the living first (newest submit first), then the finished (newest end)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from msgspec import structs

from aioqueue.archive.base import JobFilter
from aioqueue.broker import translate as t
from aioqueue.broker.overlay import Overlay
from aioqueue.core.state import State
from aioqueue.errors import BadOption
from aioqueue.model.states import TERMINAL, JobState
from aioqueue.model.views import JobInfo

Wanted = tuple[str, tuple[JobState, ...], str, str]

# A page's cursor says where it stopped: among the living, by sequence, or in the archive, by the archive's own cursor.
_LIVING: Final = b"L"
_ARCHIVED: Final = b"A"
_SEQ: Final = struct.Struct(">Q")
TEXT_SHOWN: Final = 500


class LivingPage(NamedTuple):
    """The living part of a page. `following` is the next page's cursor where this part filled the page."""

    jobs: list[JobInfo]
    following: bytes


def living_page(state: State, wanted: Wanted, limit: int, after: bytes) -> LivingPage:
    """Living jobs, newest submit first. A job that takes a new place while pages are read may be missed or seen twice.

    Raises `BadOption` for a cursor that no page gave.
    """
    below = _below(after)
    if below == 0:
        return LivingPage([], b"")
    namespace, states, queue, task = wanted
    found: list[JobInfo] = []
    for job in reversed(state.jobs.values()):
        spec = job.spec
        if (
            spec.namespace == namespace
            and (not states or job.state in states)
            and (not queue or spec.queue == queue)
            and (not task or spec.task == task)
            and (below is None or job.seq < below)
        ):
            session = state.sessions.get(job.session)
            found.append(_brief(t.info_of_living(job, session.name if session is not None else "", [])))
            if len(found) == limit:
                return LivingPage(found, _LIVING + _SEQ.pack(job.seq))
    return LivingPage(found, b"")


def _below(after: bytes) -> int | None:
    place, cursor = after[:1], after[1:]
    if not after:
        return None
    if place == _ARCHIVED:
        return 0
    if place == _LIVING and len(cursor) == _SEQ.size:
        return int(_SEQ.unpack(cursor)[0])
    raise BadOption(option="after", value=after.hex(), reason="it is no cursor of an earlier page")


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
