"""The caller's mistake, or a limit that was reached: change the call.

Raised on both sides; what a broker raises travels to the caller by its code.
"""

from __future__ import annotations

from typing import Any, Final

from aioqueue.errors.base import AioqueueError

# What a caller gave, which may be of any length, and how much of it is repeated.
_GIVEN: Final = frozenset({"asked", "id", "job", "name", "option", "other", "own_id", "target", "task", "url", "value"})
GIVEN_CHARACTERS_MAX: Final = 200


class Refused(AioqueueError):
    """The call was understood and not done; nothing was changed by it.

    What the caller gave is repeated in part where it is long, in the sentence and in the fields.
    """

    code = "refused"
    sentence = "the broker refused this: {reason}"

    def __init__(self, message: str | None = None, /, **fields: Any) -> None:
        given = {name: _short(value) for name, value in fields.items() if name in _GIVEN}
        if message is None:
            message = self.sentence.format(**{**fields, **given})
        told = {name: value.cut for name, value in given.items() if isinstance(value, _Long) and value.cut}
        super().__init__(message, **{**fields, **told})


class _Long:
    """A value whose text is too long to be repeated; `cut` is the beginning of one that is text itself."""

    def __init__(self, value: Any, text: str) -> None:
        self.cut = value[:GIVEN_CHARACTERS_MAX] if isinstance(value, str | bytes) else None
        self._text = f"{text[:GIVEN_CHARACTERS_MAX]}… ({len(text):,} characters)"

    def __repr__(self) -> str:
        return self._text

    __str__ = __repr__


def _short(value: Any) -> Any:
    if isinstance(value, bool | int | float | None):
        return value
    text = repr(value)
    return value if len(text) <= GIVEN_CHARACTERS_MAX + 2 else _Long(value, text)


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


class Duplicate(Refused):
    """The id of a submit is taken by a job of another task: of `task`, where the submit is of `asked`."""

    code = "duplicate"
    sentence = (
        "the id of job {job} is taken by a job of task {task}, so task {asked} cannot be submitted under it; give it "
        "another id="
    )


class AmbiguousId(Refused):
    """What a command line gives as an id is the beginning, or the end, of several; `jobs` are some of them."""

    code = "ambiguous_id"
    sentence = "{count} jobs have ids like {id}: {jobs}; write more of the id"


class NotRetryable(Refused):
    code = "not_retryable"
    sentence = "job {job} is {state}; only a job that is over and did not succeed can be retried"


class NotEntered(Refused):
    code = "not_entered"
    sentence = "the queue is not connected; use it inside `async with queue:`"


class OtherLoop(Refused):
    """A queue belongs to the event loop that entered it, and the call came from somewhere else."""

    code = "other_loop"
    sentence = (
        "this queue was entered in another event loop, and works in that one only; from here, hand the call over by "
        "`asyncio.run_coroutine_threadsafe(queue.submit(...), loop)` with that loop, or enter another Queue"
    )


class Forked(Refused):
    """The queue was entered by the process that this one was forked from."""

    code = "forked"
    sentence = (
        "this queue was entered before the process was forked, and its connection stayed with the parent; enter it "
        "again in this process by `async with queue:`, or use another Queue"
    )


class TooManySessions(Refused):
    code = "too_many_sessions"
    sentence = "the broker serves {sessions} sessions already, its limit is {limit}"


class TooManyConnections(Refused):
    code = "too_many_connections"
    sentence = (
        "the broker has {connections} connections already, its limit is {limit}; use one Queue for a whole program, or "
        "raise the limit of open files (ulimit -n) if that is what bounds it"
    )


class TooManyNames(Refused):
    code = "too_many_names"
    sentence = (
        "the names of queues and tasks that workers declare would take {size:,} bytes in the broker, its limit is "
        "{limit:,}; let workers of one kind declare the same, or use fewer queues"
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
        "{path} was moved, removed or replaced while the broker writes to it, so no new jobs are taken until it is "
        "back; if it was removed, what it holds is lost when the broker ends, and `aioqueue backup DEST` may save it"
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
