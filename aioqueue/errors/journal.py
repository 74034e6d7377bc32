"""The truth on disk cannot be read or written: stop. Raised by journal and archive, and by a broker that opens them."""

from __future__ import annotations

from aioqueue.errors.base import AioqueueError


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


class Deposed(HistoryLost):
    """This broker's history is older than the one a client was told of, and another may have the newer one."""

    code = "deposed"
    sentence = (
        "a client saw epoch {seen} of {path}, which is at epoch {epoch} here: an older copy of it was put back, or "
        "another broker has gone on with it; connect to that one, or put the newest copy back"
    )


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
