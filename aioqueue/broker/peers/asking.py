"""Questions about jobs: one by its id, or many by a filter, alive and finished."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from aioqueue.archive.base import JobFilter
from aioqueue.broker.arguments import with_arguments
from aioqueue.broker.history import fitted, history
from aioqueue.broker.line import Query
from aioqueue.broker.pages import LivingPage, whole_page
from aioqueue.broker.peers.peer import Peer, trouble
from aioqueue.broker.peers.rows import Row
from aioqueue.broker.translate.refusals import refusal
from aioqueue.broker.translate.views import info_of_finished, info_of_living, with_kept
from aioqueue.core.nouns import Job, copy_job
from aioqueue.core.unserved import why_unserved
from aioqueue.errors import JobNotFound, JournalError, Refused, ResultExpired
from aioqueue.limits import ARGS_LISTED_BYTES_MAX, PAGE_JOBS_MAX, PAGE_RUNS_JOBS_MAX
from aioqueue.model.ids import EVERY_ID, id_end, id_range, id_text
from aioqueue.model.records import FinishedJob
from aioqueue.model.rights import Right
from aioqueue.model.states import JobState
from aioqueue.model.views import Block
from aioqueue.protocol import messages as m

_STATES: Final = frozenset(JobState)


class Living(NamedTuple):
    """A job that has not ended, as it was when it was looked at, with what is known of its worker."""

    job: Job
    worker: str
    blocked: Block | None
    unserved: str = ""


def get_job(peer: Peer, message: m.GetJob) -> None:
    peer.post(Query(lambda: _look(peer, message.job), (message.job,)), _got_job, message)


def _look(peer: Peer, job_id: bytes) -> Living | None:
    state = peer.services.engine.partition.state
    job = state.jobs.get(job_id)
    if job is None:
        return None
    session = state.sessions.get(job.session)
    if session is None:
        return Living(copy_job(job), "", None, why_unserved(state, job))
    return Living(copy_job(job), session.name, peer.services.blocked(session.number))


def _got_job(peer: Peer, message: m.GetJob, reply: Any) -> None:
    if isinstance(reply, Exception):
        peer.send(refusal(message.request, reply))
    else:
        peer.lookups.start(_answer(peer, _tell_job), message, reply)


async def _tell_job(peer: Peer, message: m.GetJob, living: Living | None) -> m.BrokerMessage:
    overlay = peer.services.overlay
    if living is not None:
        job = living.job
        if job.spec.namespace != peer.namespace:
            raise JobNotFound(job=id_text(message.job))
        runs = await overlay.runs(job.id) if job.runs or job.generation else []
        info = replace(info_of_living(job, living.worker, runs, living.blocked), unserved=living.unserved)
    else:
        found = (await overlay.look_up([message.job])).get(message.job)
        if found is None or (isinstance(found, FinishedJob) and found.namespace != peer.namespace):
            raise JobNotFound(job=id_text(message.job))
        if not isinstance(found, FinishedJob):
            raise ResultExpired(job=id_text(message.job), state=found.state.label)
        runs = await overlay.runs(found.id)
        info = with_kept(info_of_finished(found, runs), found, message.args_bytes)
    [info] = await with_arguments(peer.services, [info], message.args_bytes)
    deaf_at = peer.services.deaf_at(message.job, peer.namespace)
    if message.runs:
        return m.JobRecord(message.request, replace(info, attempts=[], deaf_at=deaf_at), fitted(history(info, runs)))
    return m.JobRecord(message.request, replace(info, attempts=fitted(info.attempts), deaf_at=deaf_at))


def find_jobs(peer: Peer, message: m.FindJobs) -> None:
    states = tuple(JobState(number) for number in message.states if number in _STATES)
    if message.states and not states:
        # No job here is what only a later version knows.
        peer.post(Query(lambda: m.JobPage(message.request, [], b"")), Peer.send_reply, None)
        return
    limit = max(1, min(message.limit, PAGE_RUNS_JOBS_MAX if message.runs or message.args_bytes else PAGE_JOBS_MAX))
    listings = peer.services.listings

    def ask() -> tuple[JobFilter, LivingPage] | Refused:
        try:
            tail = id_end(message.id_suffix) if message.id_suffix else b""
            # What ends so is looked for among all ids, in their order.
            ids = id_range(message.id_prefix) if message.id_prefix else EVERY_ID if tail else None
            where = JobFilter(
                peer.namespace, states, message.queue, message.task, message.since_ms, message.until_ms, ids,
                message.error, tail,
            )  # fmt: skip
            return where, listings.page(where, limit, message.after)
        except Refused as error:
            return error

    peer.post(Query(ask), _found_living, (message, limit))


def _found_living(peer: Peer, question: tuple[m.FindJobs, int], reply: Any) -> None:
    message, limit = question
    if isinstance(reply, Exception):
        peer.send(refusal(message.request, reply))
        return
    where, living = reply

    async def tell(peer: Peer, message: m.FindJobs, living: LivingPage) -> m.BrokerMessage:
        args_bytes = min(message.args_bytes, ARGS_LISTED_BYTES_MAX)
        page = await whole_page(
            peer.services.overlay, living, where, limit, message.after, runs=message.runs, args_bytes=args_bytes
        )
        jobs = await with_arguments(peer.services, page.jobs, args_bytes)
        return m.JobPage(message.request, jobs, page.following, page.runs)

    peer.lookups.start(_answer(peer, tell), message, living)


def _answer(
    peer: Peer, tell: Callable[[Peer, Any, Any], Awaitable[m.BrokerMessage]]
) -> Callable[[Any, Any], Coroutine[Any, Any, None]]:
    async def answer(message: Any, found: Any) -> None:
        told: m.BrokerMessage
        try:
            told = await tell(peer, message, found)
        except (Refused, JournalError) as error:
            # A row that cannot be read is told to who asked for it; the archive's writer stops the broker itself.
            told = trouble(message.request, error)
        # What was looked up beside the engine may not be durable yet: the answer stands in line behind it.
        peer.post(Query(lambda: told), Peer.send_reply, None)

    return answer


ROWS: Final = (
    # An id that was generated is a capability within its namespace: whoever submitted the job knows it.
    Row(m.GetJob, Right.SUBMIT | Right.READ | Right.OPERATE, get_job),
    Row(m.FindJobs, Right.READ | Right.OPERATE, find_jobs),
)
