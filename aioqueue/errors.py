"""Every error aioqueue raises: what went wrong, the numbers, and the way out.

Four families, by what the person who meets them has to do:

* `Refused`: the caller's mistake, or a limit that was reached. Change the call.
* `PeerMisbehaved`: the other side of a connection broke the protocol. The connection is closed.
* `BrokerUnavailable`: nobody answered. Trying again later is right.
* `JournalError`: the truth on disk cannot be read or written. Stop.

and `JobError`, which is how a job's own end is told to whoever waits for its result.

Each class has a `code` that never changes: it travels on the wire, is printed by the command line, and is what a
program should compare. The words of a message may change. The numbers are in `fields`, and are attributes too.
"""

from __future__ import annotations

from typing import Any, ClassVar


class AioqueueError(Exception):
    """The base of all errors of this package.

    A subclass states a `code` and a `sentence`, a template over the keyword arguments it is raised with.
    """

    code: ClassVar[str] = "error"
    sentence: ClassVar[str] = "aioqueue failed"

    def __init__(self, message: str | None = None, /, **fields: Any) -> None:
        self.fields = fields
        super().__init__(self.sentence.format(**fields) if message is None else message)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["fields"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), str(self), self.fields)


def _rebuild(kind: type[AioqueueError], message: str, fields: dict[str, Any]) -> AioqueueError:
    return kind(message, **fields)


# --- the caller's mistake -----------------------------------------------------------------------------------------


class Refused(AioqueueError):
    """The call was understood and not done; nothing was changed by it."""

    code = "refused"
    sentence = "the broker refused this: {reason}"


class BadUrl(Refused):
    code = "bad_url"
    sentence = (
        "{url!r} is not a broker's address: {reason}; use tcp://HOST:PORT, sqlite:PATH or memory: "
        "(for example tcp://127.0.0.1:7411)"
    )


class BadOption(Refused):
    code = "bad_option"
    sentence = "the option {option}={value!r} cannot be used: {reason}"


class BadName(Refused):
    code = "bad_name"
    sentence = "{name!r} cannot name a {what}: 1 to {limit} characters of A-Z a-z 0-9 _ . - are allowed"


class BadArguments(Refused):
    code = "bad_arguments"
    sentence = "the arguments do not fit task {task}: {reason}"


class BadAnnotation(Refused):
    code = "bad_annotation"
    sentence = "{what} of task {task} is annotated with {annotation}, which cannot be used: {reason}"


class BadResult(Refused):
    code = "bad_result"
    sentence = "the result of task {task} does not fit its annotation here: {reason}"


class NotSerializable(Refused):
    code = "not_serializable"
    sentence = "{what} of task {task} cannot be serialized: {reason}"


class PayloadTooLarge(Refused):
    code = "payload_too_large"
    sentence = "{what}: {size:,} bytes, the limit is {limit:,}; store large data elsewhere and send its address"


class BulkTooLarge(Refused):
    code = "bulk_too_large"
    sentence = (
        "an atomic submit of {jobs} jobs and {size} bytes is over the limit of {jobs_max} jobs and {size_max} bytes; "
        "send it in several smaller ones"
    )


class BulkUnknown(Refused):
    """Parts of a bulk are not at the broker: it forgot them, or was told to."""

    code = "bulk_unknown"
    sentence = (
        "the broker does not have all parts of the bulk {bulk}: it was dropped, or nothing was heard of it for too "
        "long; none of its jobs runs, so submit them again"
    )


class TooManyBulks(Refused):
    code = "too_many_bulks"
    sentence = "{bulks} bulks are being staged already, the limit is {limit}; wait until one is committed"


class UnknownTask(Refused):
    code = "unknown_task"
    sentence = "no task is called {task!r} here; known tasks: {known}"


class TaskExists(Refused):
    code = "task_exists"
    sentence = "the task name {task!r} is taken by {owner}; give one of them another name="


class Unstoppable(Refused):
    code = "unstoppable"
    sentence = (
        "task {task} is a plain function with a timeout, and a thread cannot be stopped; make it `async def`, "
        'give it executor="process", or declare it without timeout='
    )


class Unsupported(Refused):
    code = "unsupported"
    sentence = "this broker does not know {what}; use a newer broker or leave it out"


class JobNotFound(Refused):
    code = "job_not_found"
    sentence = "no job {job} is known here"


class ResultExpired(Refused):
    code = "result_expired"
    sentence = "job {job} ended as {state}, and its result has passed its retention"


class NotRetryable(Refused):
    code = "not_retryable"
    sentence = "job {job} is {state}; only a job that is over and did not succeed can be retried"


class NotEntered(Refused):
    code = "not_entered"
    sentence = "the queue is not connected; use it inside `async with queue:`"


class TooManySessions(Refused):
    code = "too_many_sessions"
    sentence = "the broker serves {sessions} sessions already, its limit is {limit}"


class TooManyConnections(Refused):
    code = "too_many_connections"
    sentence = (
        "the broker has {connections} connections already, its limit is {limit}; use one Queue for a whole program, or "
        "raise the limit of open files (ulimit -n) if that is what bounds it"
    )


class SessionOver(Refused):
    code = "session_over"
    sentence = "session {session} has ended; connect again to begin another"


class WrongNamespace(Refused):
    code = "wrong_namespace"
    sentence = "this connection belongs to namespace {namespace!r} and cannot use {other!r}"


class PortTaken(Refused):
    code = "port_taken"
    sentence = "cannot listen on {host}:{port}: {reason}; {way_out}"


class QueueFull(Refused):
    code = "queue_full"
    sentence = (
        "the broker holds {jobs:,} jobs with {size:,} bytes, its limits are {jobs_max:,} jobs and {size_max:,} bytes; "
        "try again when some are done, or raise --max-backlog-jobs or --max-backlog-bytes of `aioqueue serve`"
    )


class DiskLow(Refused):
    code = "disk_low"
    sentence = (
        "{free:,} bytes are free on the disk of {path}, and the broker takes no new jobs below {needed:,}; free some "
        "space, and it goes on by itself"
    )


class JournalGone(Refused):
    code = "journal_gone"
    sentence = (
        "{path} was removed or replaced while the broker writes to it: what it holds is lost when the broker ends, so "
        "no new jobs are taken; `aioqueue backup DEST` may save it"
    )


class CrashLoop(Refused):
    code = "crash_loop"
    sentence = "the worker of {target} died {times} times in a row before it was ready, the last time {reason}"


class AlreadyThere(Refused):
    code = "already_there"
    sentence = "{path} exists already; choose another name, for nothing is ever written over"


class BackupFailed(Refused):
    code = "backup_failed"
    sentence = "there is no backup: {reason}"


class AppNotFound(Refused):
    code = "app_not_found"
    sentence = "cannot load {target!r}: {reason}"


class ExtraMissing(Refused):
    code = "extra_missing"
    sentence = "{what} needs {packages}, which this Python does not have; in a checkout run: pip install '.[{extra}]'"


# --- the peer's misbehaviour --------------------------------------------------------------------------------------


class PeerMisbehaved(AioqueueError):
    """The other side sent what the protocol does not allow; the connection is closed."""

    code = "peer_misbehaved"
    sentence = "the peer broke the protocol: {reason}"


class FrameTooLong(PeerMisbehaved):
    code = "frame_too_long"
    sentence = "a frame of {size} bytes was announced, the limit is {limit}"


class MalformedFrame(PeerMisbehaved):
    code = "malformed_frame"
    sentence = "a frame could not be read: {reason}"


class UnexpectedMessage(PeerMisbehaved):
    code = "unexpected_message"
    sentence = "{message} is not allowed {when}"


class ProtocolVersionMismatch(PeerMisbehaved):
    code = "protocol_version"
    sentence = (
        "the client speaks protocol versions {client_min} to {client_max}, the broker {broker_min} to {broker_max}; "
        "upgrade the older of the two"
    )


class CapabilityMissing(PeerMisbehaved):
    code = "capability_missing"
    sentence = "the peer requires capability bits {missing:#x}, which this side does not have; upgrade it"


# --- nobody answers -----------------------------------------------------------------------------------------------


class BrokerUnavailable(AioqueueError):
    """No answer from a broker; the same call may work later."""

    code = "broker_unavailable"
    sentence = "no broker answers at {url}: {reason}"


class DeadlineExceeded(BrokerUnavailable, TimeoutError):
    code = "deadline_exceeded"
    sentence = "{what} was not answered within {seconds:g} s"


class OutcomeUnknown(BrokerUnavailable):
    code = "outcome_unknown"
    sentence = "{what} was sent, and no answer came for {seconds:g} s; it may or may not have been accepted"


class ConnectionLost(BrokerUnavailable):
    code = "connection_lost"
    sentence = "the connection to {url} was lost: {reason}"


class QueueClosed(BrokerUnavailable):
    code = "queue_closed"
    sentence = "the queue was closed while {what} waited"


# --- the journal --------------------------------------------------------------------------------------------------


class JournalError(AioqueueError):
    """The journal cannot be read or written; nothing goes on without it."""

    code = "journal_error"
    sentence = "the journal {path} failed: {reason}"


class JournalFailed(JournalError):
    code = "journal_failed"
    sentence = "the journal {path} failed and the broker stopped: {reason}"


class JournalInUse(JournalError):
    code = "journal_in_use"
    sentence = (
        "the journal {path} belongs to process {pid} on {host}, since {since}; connect to that broker with "
        "tcp://HOST:PORT, or stop it first"
    )


class JournalNewer(JournalError):
    code = "journal_newer"
    sentence = "{path} was written by a newer aioqueue ({found}); this one reads up to {known}; it was left untouched"


class JournalDamaged(JournalError):
    code = "journal_damaged"
    sentence = "{path} is damaged at {where}: {reason}; restore a backup, or look at it with `aioqueue check {path}`"


class NotAJournal(JournalError):
    code = "not_a_journal"
    sentence = "{path} is not an aioqueue {what}: {reason}"


class HistoryLost(JournalError):
    code = "history_lost"
    sentence = "confirmed history is missing from {path}: {reason}; restore a backup before going on"


class Fenced(JournalError):
    code = "fenced"
    sentence = "another owner took the journal with epoch {epoch}; this one had {own_epoch} and steps down"


class AppendUnknown(JournalError):
    code = "append_unknown"
    sentence = "an append to {path} may or may not be there: {reason}; only a new start can tell"


class JournalUnavailable(JournalError):
    code = "journal_unavailable"
    sentence = "the journal {path} did not take an append: {reason}; nothing was written"


class BatchTooLarge(JournalError):
    code = "batch_too_large"
    sentence = "a batch of {size} bytes is over the journal's limit of {limit}; append it as several"


class ArchiveFailed(JournalError):
    code = "archive_failed"
    sentence = "the archive {path} failed: {reason}"


# --- how a job ended ----------------------------------------------------------------------------------------------


class JobError(AioqueueError):
    """A job ended without a result; raised by `await job`."""

    code = "job_error"
    sentence = "job {job} ended without a result"


class JobFailed(JobError):
    """The job is dead: `type`, `text` and `traceback` tell of its last failure, as data."""

    code = "job_failed"
    sentence = "job {job} of task {task} failed: {type}: {text}"


class ProcessDied(JobError):
    """The process of a job of `executor="process"` died under it; a failure of this type, raised to nobody."""

    code = "process_died"
    sentence = "the process of job {job} of task {task} {how}"


class JobCancelled(JobError):
    code = "job_cancelled"
    sentence = "job {job} of task {task} was cancelled"


class JobExpired(JobError):
    """The job had not begun in time (`expires`), or was not over by its `deadline`; `reason` says which."""

    code = "job_expired"
    sentence = "job {job} of task {task} expired: {reason}"


def _by_code(base: type[AioqueueError]) -> dict[str, type[AioqueueError]]:
    found: dict[str, type[AioqueueError]] = {}
    for kind in base.__subclasses__():
        found.setdefault(kind.code, kind)
        for code, inner in _by_code(kind).items():
            found.setdefault(code, inner)
    return found


def from_wire(code: str, message: str, fields: dict[str, Any]) -> AioqueueError:
    """The error that a peer told of by its code.

    An unknown code is a `Refused` with the peer's own words, and the code itself in `fields`.
    """
    kind = _BY_CODE.get(code)
    return kind(message, **fields) if kind is not None else Refused(message, **{**fields, "code": code})


_BY_CODE = _by_code(AioqueueError)
