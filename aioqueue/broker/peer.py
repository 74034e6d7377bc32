"""One connection at the broker: each message to the command it asks for, each reply to the message that answers.

A peer decides nothing. What it posts is answered through the engine, so that no answer promises what is not durable;
only Pong passes by.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio
from msgspec.structs import replace

from aioqueue.archive.base import JobFilter
from aioqueue.broker import translate as t
from aioqueue.broker.backlog import Gauge
from aioqueue.broker.backup import Backup
from aioqueue.broker.ends import LaterEnds
from aioqueue.broker.history import fitted, history
from aioqueue.broker.line import Line, Query
from aioqueue.broker.lookups import Lookups
from aioqueue.broker.pages import LivingPage, whole_page
from aioqueue.core import commands as c
from aioqueue.core.decide import copy_job
from aioqueue.core.state import Job
from aioqueue.errors import (
    BackupFailed,
    CapabilityMissing,
    HistoryLost,
    JobNotFound,
    JournalError,
    PeerMisbehaved,
    ProtocolVersionMismatch,
    Refused,
    ResultExpired,
)
from aioqueue.limits import DELIVERIES_BYTES_MAX, PAGE_JOBS_MAX, PAGE_RUNS_JOBS_MAX
from aioqueue.model.ids import id_range, id_text
from aioqueue.model.names import check_name
from aioqueue.model.records import FinishedJob
from aioqueue.model.states import JobState
from aioqueue.model.views import Block
from aioqueue.protocol import messages as m
from aioqueue.transport.connection import Connection

if TYPE_CHECKING:
    from aioqueue.broker.broker import Broker

log = logging.getLogger(__name__)

# As a plain number: an enum's own `&` costs more than the rest of the item.
_WANT_RESULT: Final = int(m.SubmitFlag.WANT_RESULT)
_RESEND: Final = int(m.SubmitFlag.RESEND)
_OWN_ID: Final = int(m.SubmitFlag.OWN_ID)
_STATES: Final = frozenset(JobState)
# What this broker can do beyond version 1 of the protocol.
CAPABILITIES: Final = int(m.Capability.FILTERS | m.Capability.RUNS | m.Capability.BACKUP)


class Living(NamedTuple):
    """A job that has not ended, as it was when it was looked at, with what is known of its worker."""

    job: Job
    worker: str
    blocked: Block | None


class Peer:
    """One connection and the session it speaks for; `session` is 0 until it was welcomed.

    `link` is the connection's number at this broker; a heartbeat's is 0, for it offers no capacity. `line` is where
    what it asks waits, and `gauge` how much that is. `reading` is false while the peer is let wait, and `publishes`
    says that it submitted since it was read last.
    """

    __slots__ = (
        "_broker", "_heard_ms", "awaited", "backup", "connection", "gauge", "gone", "later", "line", "link", "lookups",
        "namespace", "publishes", "reading", "role", "session", "throttled", "watching",
    )  # fmt: skip

    def __init__(self, broker: Broker, connection: Connection[m.ClientMessage], link: int, gauge: Gauge) -> None:
        self._broker = broker
        # Set when its connection has ended.
        self.gone = anyio.Event()
        self._heard_ms = 0
        self.connection = connection
        self.link = link
        self.session = 0
        self.role = m.Role.CLIENT
        self.namespace = ""
        self.awaited: set[bytes] = set()
        self.watching = False
        self.backup: Backup | None = None
        self.gauge = gauge
        self.line: Line = broker.engine.clients
        self.lookups = Lookups(broker.spawn)
        self.later = LaterEnds(connection, self._look_for_ends)
        self.reading = True
        self.publishes = False
        self.throttled = False

    def throttle(self) -> None:
        """Runs were sent, or have left: with too much of them waiting for it, a worker gets none for a while."""
        waiting = self.connection.outbox_bytes
        throttled = waiting > (DELIVERIES_BYTES_MAX // 4 if self.throttled else DELIVERIES_BYTES_MAX)
        if throttled is not self.throttled:
            self.throttled = throttled
            self._broker.engine.post(c.ThrottleLink(self.session, throttled, self.link), _nothing)

    @property
    def listening(self) -> bool:
        """Whether what the peer says is read; its silence is no news otherwise."""
        return self.reading and not self.gauge.held

    @property
    def received_bytes(self) -> int:
        """All that the peer ever said."""
        return self.connection.received_bytes

    def send(self, message: m.BrokerMessage, *, lazily: bool = False) -> None:
        """Queue a message; on a connection that ended it is dropped, and its session resumes or expires.

        An answer that nobody waits for is sent `lazily`.
        """
        try:
            self.connection.send_nowait(message, lazily=lazily)
        except PeerMisbehaved:
            # The peer was refused meanwhile: nothing more is owed to it.
            pass
        except Refused as error:
            # Too large for a frame: that is the answer then.
            self.connection.send_nowait(t.refusal(getattr(message, "request", 0), error))

    def dispatch(self, message: m.ClientMessage) -> None:
        """Do what the message asks. Raises `PeerMisbehaved` for what cannot be borne."""
        _DISPATCH[type(message)](self, message)

    def heard(self, now_ms: int) -> None:
        """Something was read from this connection: its session lives. Told to core a few times a heartbeat."""
        step_ms = self._broker.engine.partition.session_ttl_ms // 10
        if self.session and now_ms - self._heard_ms >= step_ms:
            self._heard_ms = now_ms
            self._broker.engine.post(c.HearSession(self.session), _nothing)

    def _post(self, command: c.Command | Query, handler: Callable[[Any, Any, Any], None], question: Any) -> None:
        self._broker.engine.post(command, handler, self, question, line=self.line)

    # --- beginning and end ------------------------------------------------------------------------------------------

    def ping(self, message: m.Ping) -> None:
        self.send(m.Pong(message.number))

    def nothing(self, message: Any) -> None:
        """Being heard is all that this message is for."""

    def beat(self, message: m.Beat) -> None:
        self._broker.beat(self, message)

    def hello(self, message: m.Hello) -> None:
        if message.version_max < m.PROTOCOL_VERSION_MIN or message.version_min > m.PROTOCOL_VERSION:
            raise ProtocolVersionMismatch(
                client_min=message.version_min, client_max=message.version_max,
                broker_min=m.PROTOCOL_VERSION_MIN, broker_max=m.PROTOCOL_VERSION,
            )  # fmt: skip
        if missing := message.required & ~CAPABILITIES:
            raise CapabilityMissing(missing=missing)
        self._broker.check_witness(message)
        check_name("namespace", message.namespace)
        self.role = message.role
        if message.role is not m.Role.CLIENT:
            self.line = self._broker.engine.work
            self.gauge.move(self._broker.crowd.workers)
        self.namespace = message.namespace
        if attach := message.role is m.Role.HEARTBEAT:
            self.link = 0
        secret_hash = self._broker.hash_secret(message.secret)
        name = message.name or self.connection.peer
        opened = c.OpenSession(secret_hash, message.namespace, name, attach, self.link)
        self._post(opened, Peer._welcome, message)

    def _welcome(self, message: m.Hello, reply: Any) -> None:
        if isinstance(reply, Exception):
            self.refuse(reply)
            return
        self.session, fresh = reply
        self._broker.seat(self)
        engine = self._broker.engine
        version = min(m.PROTOCOL_VERSION, message.version_max)
        self.send(
            m.Welcome(
                version, self.session, fresh, engine.journal_id, engine.epoch, engine.position,
                engine.partition.session_ttl_ms, capabilities=CAPABILITIES & message.capabilities,
            )
        )  # fmt: skip

    def refuse(self, error: Exception) -> None:
        """Tell the peer why, and end the connection."""
        self.send(t.refusal(0, error))
        self._broker.dismiss(self)

    def goodbye(self, message: m.Goodbye) -> None:
        if self.session and self.role is not m.Role.HEARTBEAT:
            self._post(c.EndSession(self.session, c.SessionEnd.GOODBYE), _nothing, None)

    def worker_died(self, message: m.WorkerDied) -> None:
        cause = c.SessionEnd.GOODBYE if message.leaving else c.SessionEnd.DIED
        self._broker.engine.post(c.EndSession(self.session, cause), Peer._recorded, self, message)

    def _recorded(self, message: m.WorkerDied, reply: Any) -> None:
        if message.number:
            self.send(m.Pong(message.number))

    # --- submitting -------------------------------------------------------------------------------------------------

    def submit(self, message: m.Submit) -> None:
        self.publishes = True
        submission = self._broker.translator.submission(message.items, self.namespace)
        self._post(c.SubmitJobs(submission.jobs), Peer._submitted, (message, submission.refused))

    def submit_atomic(self, message: m.SubmitAtomic) -> None:
        self.publishes = True
        submission = self._broker.translator.submission(message.items, self.namespace)
        if submission.refused:
            self._refuse_whole(message.request, submission.refused[0])
            return
        self._post(c.SubmitJobs(submission.jobs, atomic=True), Peer._submitted, (message, []))

    def bulk_stage(self, message: m.BulkStage) -> None:
        self.publishes = True
        submission = self._broker.translator.submission(message.items, self.namespace)
        if submission.refused:
            self._refuse_whole(message.request, submission.refused[0])
            return
        resent = any(item.flags & _RESEND for item in message.items)
        for item, job in zip(message.items, submission.jobs, strict=True):
            if not item.flags & _OWN_ID:
                # Parts are known by their numbers, and need no look at each job.
                job.known = c.Known.FRESH
        command = c.StageBulk(message.bulk, self.namespace, message.part, submission.jobs, resent)
        self._post(command, Peer._bulk_went_on, message)

    def _refuse_whole(self, request: int, first: m.ItemRefused) -> None:
        answer = m.Refusal(request, first.code, f"item {first.index}: {first.message}", first.fields)
        self._post(Query(lambda: answer), Peer._send_reply, None)

    def bulk_commit(self, message: m.BulkCommit) -> None:
        command = c.CommitBulk(message.bulk, self.namespace, message.parts, message.first)
        self._post(command, Peer._bulk_went_on, message)

    def bulk_drop(self, message: m.BulkDrop) -> None:
        self._post(c.DropBulk(message.bulk, self.namespace), _nothing, None)

    def _bulk_went_on(self, message: m.BulkStage | m.BulkCommit, reply: Any) -> None:
        position = self._broker.engine.position
        refused = isinstance(reply, Exception)
        self.send(t.refusal(message.request, reply) if refused else m.Submitted(message.request, position))

    def _submitted(self, question: tuple[m.Submit | m.SubmitAtomic, list[m.ItemRefused]], reply: Any) -> None:
        message, refused = question
        if isinstance(reply, Exception):
            self.send(t.refusal(message.request, reply))
            return
        answer = t.submitted(message.request, self._broker.engine.position, reply, refused)
        outcomes = answer.outcomes
        wanted = [(index, item.job) for index, item in enumerate(message.items) if item.flags & _WANT_RESULT]
        # Who wants the results of all waits for those.
        self.send(answer, lazily=not outcomes and len(wanted) == len(message.items))
        before: list[bytes] = []
        for index, job_id in wanted:
            if not outcomes or outcomes[index] is m.Outcome.ACCEPTED:
                self._await(job_id)
            elif outcomes[index] is m.Outcome.EXISTS:
                before.append(job_id)
        if before:
            self.wait(m.Wait(before))

    # --- waiting and looking ----------------------------------------------------------------------------------------

    def wait(self, message: m.Wait) -> None:
        self._post(Query(lambda: self._ends(message.jobs)), Peer._waiting, message)

    def _await(self, job_id: bytes) -> None:
        # One that left before its answer could is told nothing, and would be held until the job ends.
        if not self.gone.is_set():
            self._broker.waiters.add(job_id, self)

    def _ends(self, jobs: Iterable[bytes]) -> tuple[list[bytes], list[m.EndedItem], list[bytes]]:
        """Of these jobs: those that live, the ends that are in sight, and those the archive must be asked for."""
        living, overlay = self._broker.engine.partition.state.jobs, self._broker.overlay
        wait: list[bytes] = []
        ended: list[m.EndedItem] = []
        missing: list[bytes] = []
        for job_id in jobs:
            job = living.get(job_id)
            if job is not None:
                if job.spec.namespace == self.namespace:
                    wait.append(job_id)
                else:
                    ended.append(_unknown(job_id))
            elif (finished := overlay.find(job_id)) is not None:
                ended.append(self._ended(job_id, finished))
            else:
                missing.append(job_id)
        return wait, ended, missing

    def _waiting(self, message: m.Wait, reply: Any) -> None:
        if isinstance(reply, Exception):
            self.refuse(reply)
            return
        wait, ended, missing = reply
        for job_id in wait:
            self._await(job_id)
        if ended:
            self._broker.send_ends(self, ended)
        if missing:
            self.tell_later(missing)

    def tell_later(self, jobs: Iterable[bytes]) -> None:
        """Look for the ends of these jobs, and tell them as the connection takes them."""
        if self.later.add(jobs):
            self._broker.spawn(self.later.tell)

    async def _look_for_ends(self, jobs: list[bytes]) -> None:
        await self._wait_for_archived(jobs)
        # Until what was found stands in the outbox, or nobody would see that it is full.
        told = asyncio.get_running_loop().create_future()
        self._post(Query(lambda: None), Peer._answered, told)
        await told

    def _answered(self, told: asyncio.Future[None], reply: Any) -> None:
        if not told.done():
            told.set_result(None)

    async def _wait_for_archived(self, jobs: list[bytes]) -> None:
        try:
            found = await self._broker.overlay.look_up(jobs)
        except JournalError as error:
            await self._wait_for_unreadable(jobs, error)
            return
        living = self._broker.engine.partition.state.jobs
        again = [job_id for job_id in jobs if job_id not in found and job_id in living]
        ended = [self._ended(job_id, found.get(job_id)) for job_id in jobs if job_id not in again]
        # What was found may have ended in a batch that is not durable yet: the answer stands in line behind it.
        self._post(Query(lambda: ended), Peer._tell_ended, None)
        if again:
            self.wait(m.Wait(again))

    async def _wait_for_unreadable(self, jobs: list[bytes], error: JournalError) -> None:
        """A row of one of these cannot be read: that one is told so, and the others are looked at alone."""
        if len(jobs) > 1:
            for job_id in jobs:
                await self._wait_for_archived([job_id])
            return
        log.error("job %s: %s", id_text(jobs[0]), error)
        ended = [m.EndedItem(jobs[0], 0, b"", error.code)]
        self._post(Query(lambda: ended), Peer._tell_ended, None)

    def _tell_ended(self, question: None, reply: Any) -> None:
        if isinstance(reply, Exception):
            self.refuse(reply)
        elif reply:
            self._broker.send_ends(self, reply)

    def _ended(self, job_id: bytes, found: Any) -> m.EndedItem:
        if found is None:
            return _unknown(job_id)
        if not isinstance(found, FinishedJob):
            return m.EndedItem(job_id, 0, b"", ResultExpired.code)
        return t.ended_item(found) if found.namespace == self.namespace else _unknown(job_id)

    def get_job(self, message: m.GetJob) -> None:
        self._post(Query(lambda: self._look(message.job)), Peer._got_job, message)

    def _look(self, job_id: bytes) -> Living | None:
        state = self._broker.engine.partition.state
        job = state.jobs.get(job_id)
        if job is None:
            return None
        session = state.sessions.get(job.session)
        if session is None:
            return Living(copy_job(job), "", None)
        return Living(copy_job(job), session.name, self._broker.blocked(session.number))

    def _got_job(self, message: m.GetJob, reply: Any) -> None:
        if isinstance(reply, Exception):
            self.send(t.refusal(message.request, reply))
        else:
            self.lookups.start(self._answer(self._tell_job), message, reply)

    async def _tell_job(self, message: m.GetJob, living: Living | None) -> m.BrokerMessage:
        overlay = self._broker.overlay
        if living is not None:
            job = living.job
            if job.spec.namespace != self.namespace:
                raise JobNotFound(job=id_text(message.job))
            runs = await overlay.runs(job.id) if job.runs or job.generation else []
            info = t.info_of_living(job, living.worker, runs, living.blocked)
        else:
            found = (await overlay.look_up([message.job])).get(message.job)
            if found is None or (isinstance(found, FinishedJob) and found.namespace != self.namespace):
                raise JobNotFound(job=id_text(message.job))
            if not isinstance(found, FinishedJob):
                raise ResultExpired(job=id_text(message.job), state=found.state.label)
            runs = await overlay.runs(found.id)
            info = t.info_of_finished(found, runs)
        deaf_at = self._broker.deaf_at(message.job, self.namespace)
        if message.runs:
            return m.JobRecord(
                message.request, replace(info, attempts=[], deaf_at=deaf_at), fitted(history(info, runs))
            )
        return m.JobRecord(message.request, replace(info, attempts=fitted(info.attempts), deaf_at=deaf_at))

    def find_jobs(self, message: m.FindJobs) -> None:
        states = tuple(JobState(number) for number in message.states if number in _STATES)
        if message.states and not states:
            # No job here is what only a later version knows.
            self._post(Query(lambda: m.JobPage(message.request, [], b"")), Peer._send_reply, None)
            return
        limit = max(1, min(message.limit, PAGE_RUNS_JOBS_MAX if message.runs else PAGE_JOBS_MAX))
        listings = self._broker.listings

        def ask() -> tuple[JobFilter, LivingPage] | Refused:
            try:
                ids = id_range(message.id_prefix) if message.id_prefix else None
                where = JobFilter(
                    self.namespace, states, message.queue, message.task, message.since_ms, message.until_ms, ids,
                    message.error,
                )  # fmt: skip
                return where, listings.page(where, limit, message.after)
            except Refused as error:
                return error

        self._post(Query(ask), Peer._found_living, (message, limit))

    def _found_living(self, question: tuple[m.FindJobs, int], reply: Any) -> None:
        message, limit = question
        if isinstance(reply, Exception):
            self.send(t.refusal(message.request, reply))
            return
        where, living = reply

        async def tell(message: m.FindJobs, living: LivingPage) -> m.BrokerMessage:
            page = await whole_page(self._broker.overlay, living, where, limit, message.after, runs=message.runs)
            return m.JobPage(message.request, page.jobs, page.following, page.runs)

        self.lookups.start(self._answer(tell), message, living)

    def _answer(
        self, tell: Callable[[Any, Any], Awaitable[m.BrokerMessage]]
    ) -> Callable[[Any, Any], Coroutine[Any, Any, None]]:
        async def answer(message: Any, found: Any) -> None:
            told: m.BrokerMessage
            try:
                told = await tell(message, found)
            except (Refused, JournalError) as error:
                # A row that cannot be read is told to who asked for it; the archive's writer stops the broker itself.
                told = _trouble(message.request, error)
            # What was looked up beside the engine may not be durable yet: the answer stands in line behind it.
            self._post(Query(lambda: told), Peer._send_reply, None)

        return answer

    # --- cancelling, requeueing, watching ---------------------------------------------------------------------------

    def cancel_job(self, message: m.CancelJob) -> None:
        self._post(c.CancelJob(message.job, self.namespace, reason=message.reason), Peer._cancelled, message)

    def _cancelled(self, message: m.CancelJob, reply: Any) -> None:
        position = self._broker.engine.position
        refused = isinstance(reply, Exception)
        self.send(t.refusal(message.request, reply) if refused else m.Cancelled(message.request, reply, position))

    def retry_job(self, message: m.RetryJob) -> None:
        command = c.RequeueJob(message.job, self.namespace, generation=message.generation)
        self._post(command, Peer._requeued, message)

    def _requeued(self, message: m.RetryJob, reply: Any) -> None:
        position = self._broker.engine.position
        refused = isinstance(reply, Exception)
        self.send(t.refusal(message.request, reply) if refused else m.Requeued(message.request, reply, position))

    def read_backup(self, message: m.ReadBackup) -> None:
        if message.part == 0:
            self.end_backup()
            try:
                self.backup = self._broker.begin_backup()
            except Refused as error:
                self.send(t.refusal(message.request, error))
                return
        self._broker.spawn(self._send_part, message)

    async def _send_part(self, message: m.ReadBackup) -> None:
        """What leaves here is durable by itself: it needs no place in the engine's line."""
        try:
            if self.backup is None:
                raise BackupFailed(reason="the connection was lost, or asked for nothing for long; begin it again")
            data, last = await self.backup.part(message.part)
        except (Refused, JournalError) as error:
            self.end_backup()
            self.send(_trouble(message.request, error))
            return
        self.send(m.BackupPart(message.request, data, last))
        if last:
            self.end_backup()

    def end_backup(self) -> None:
        """The backup that this connection reads, if it does, is over."""
        backup, self.backup = self.backup, None
        if backup is not None:
            self._broker.end_backup(backup)

    def watch(self, message: m.Watch) -> None:
        self._broker.watch(self, not message.stop)

    # --- working ----------------------------------------------------------------------------------------------------

    def resume(self, message: m.Resume) -> None:
        held = [c.HeldRun(run.job, run.fence) for run in message.held]
        command = c.ResumeSession(self.session, held, t.runs_ended(message.settles))
        self._post(command, Peer._resumed, message)

    def _resumed(self, message: m.Resume, reply: Any) -> None:
        if isinstance(reply, Exception):
            self.refuse(reply)
            return
        self.send(t.resumed(message.request, self._broker.engine.position, *reply))

    def capacity(self, message: m.Capacity) -> None:
        queues = tuple(dict.fromkeys(check_name("queue", name) for name in message.queues))
        offered = c.OfferCapacity(self.session, message.slots, queues, self.link)
        self._post(offered, Peer._capacity_taken, message)

    def _capacity_taken(self, message: m.Capacity, reply: Any) -> None:
        if isinstance(reply, Exception):
            self.refuse(reply)

    def settle(self, message: m.Settle) -> None:
        self._post(c.SettleRuns(self.session, t.runs_ended(message.items)), Peer._settled, message)

    def _settled(self, message: m.Settle, reply: Any) -> None:
        if isinstance(reply, Exception):
            self.send(t.refusal(message.request, reply))
            return
        answer = t.settled(message.request, self._broker.engine.position, reply)
        self.send(answer, lazily=not answer.answers)

    def _send_reply(self, question: Any, reply: Any) -> None:
        self.send(reply if not isinstance(reply, Exception) else t.refusal(0, reply))


def _nothing(asker: Any, question: Any, reply: Any) -> None:
    """Nobody waits for this answer."""


def _trouble(request: int, error: Refused | JournalError) -> m.Refusal:
    """What who asked is told. Files that cannot be read are also the affair of whoever runs the broker."""
    if isinstance(error, JournalError):
        log.error("%s", error)
    return t.refusal(request, error)


def _unknown(job_id: bytes) -> m.EndedItem:
    return m.EndedItem(job_id, 0, b"", JobNotFound.code)


def check_witness(message: m.Hello, journal_id: bytes, position: int, path: str) -> None:
    """A client that saw a later position of this very journal is a witness that history is missing (I18)."""
    if message.journal_id == journal_id and message.position_seen > position:
        raise HistoryLost(path=path, reason=f"a client saw position {message.position_seen}, the end is {position}")


_DISPATCH: Final[dict[type[Any], Callable[[Peer, Any], None]]] = {
    m.Ping: Peer.ping,
    m.Pong: Peer.nothing,
    m.Beat: Peer.beat,
    m.Hello: Peer.hello,
    m.Goodbye: Peer.goodbye,
    m.WorkerDied: Peer.worker_died,
    m.Submit: Peer.submit,
    m.SubmitAtomic: Peer.submit_atomic,
    m.BulkStage: Peer.bulk_stage,
    m.BulkCommit: Peer.bulk_commit,
    m.BulkDrop: Peer.bulk_drop,
    m.Wait: Peer.wait,
    m.GetJob: Peer.get_job,
    m.FindJobs: Peer.find_jobs,
    m.CancelJob: Peer.cancel_job,
    m.RetryJob: Peer.retry_job,
    m.Watch: Peer.watch,
    m.ReadBackup: Peer.read_backup,
    m.Resume: Peer.resume,
    m.Capacity: Peer.capacity,
    m.Settle: Peer.settle,
}
