"""Errors: codes that never change, sentences that can be said, and copies that say the same."""

from __future__ import annotations

import copy
import pickle
import string
from typing import Any

import pytest

from aioqueue import Queue, errors
from aioqueue.client.filters import make_filter
from aioqueue.client.named import NamedTask
from aioqueue.errors import (
    AioqueueError,
    BadName,
    BadOption,
    BadUrl,
    Duplicate,
    JobNotFound,
    Refused,
    from_wire,
)
from aioqueue.model.durations import to_ms
from aioqueue.model.ids import id_bytes, id_range, own_id
from aioqueue.model.names import check_name
from aioqueue.transport.address import parse_address

KINDS: list[type[AioqueueError]] = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AioqueueError)
]

# A code is never changed and never used for anything else. A new error adds its line.
CODES = {
    "AioqueueError": "error",
    "AlreadyThere": "already_there",
    "AmbiguousId": "ambiguous_id",
    "AppNotFound": "app_not_found",
    "AppendUnknown": "append_unknown",
    "ArchiveFailed": "archive_failed",
    "BackupFailed": "backup_failed",
    "BadAnnotation": "bad_annotation",
    "BadArguments": "bad_arguments",
    "BadName": "bad_name",
    "BadOption": "bad_option",
    "BadResult": "bad_result",
    "BadUrl": "bad_url",
    "BatchTooLarge": "batch_too_large",
    "BrokerUnavailable": "broker_unavailable",
    "BulkTooLarge": "bulk_too_large",
    "BulkUnknown": "bulk_unknown",
    "TooManyBulks": "too_many_bulks",
    "CapabilityMissing": "capability_missing",
    "ConnectionLost": "connection_lost",
    "CrashLoop": "crash_loop",
    "DeadlineExceeded": "deadline_exceeded",
    "Deposed": "deposed",
    "Duplicate": "duplicate",
    "ExtraMissing": "extra_missing",
    "Fenced": "fenced",
    "ForeignProtocol": "foreign_protocol",
    "Forked": "forked",
    "FrameTooLong": "frame_too_long",
    "HistoryLost": "history_lost",
    "JobCancelled": "job_cancelled",
    "JobError": "job_error",
    "JobExpired": "job_expired",
    "JobFailed": "job_failed",
    "JobNotFound": "job_not_found",
    "JournalDamaged": "journal_damaged",
    "JournalError": "journal_error",
    "JournalFailed": "journal_failed",
    "JournalInUse": "journal_in_use",
    "JournalNewer": "journal_newer",
    "JournalUnavailable": "journal_unavailable",
    "MalformedFrame": "malformed_frame",
    "NotAJournal": "not_a_journal",
    "NotEntered": "not_entered",
    "NotRetryable": "not_retryable",
    "NotSerializable": "not_serializable",
    "OtherLoop": "other_loop",
    "OutcomeUnknown": "outcome_unknown",
    "PayloadTooLarge": "payload_too_large",
    "PeerMisbehaved": "peer_misbehaved",
    "PortTaken": "port_taken",
    "ProcessDied": "process_died",
    "ProtocolVersionMismatch": "protocol_version",
    "QueueClosed": "queue_closed",
    "QueueFull": "queue_full",
    "DiskLow": "disk_low",
    "JournalGone": "journal_gone",
    "Refused": "refused",
    "ResultExpired": "result_expired",
    "SessionOver": "session_over",
    "TaskExists": "task_exists",
    "TooManyConnections": "too_many_connections",
    "TooManyNames": "too_many_names",
    "TooManySessions": "too_many_sessions",
    "UnexpectedMessage": "unexpected_message",
    "UnknownTask": "unknown_task",
    "Unstoppable": "unstoppable",
    "Unsupported": "unsupported",
    "WrongNamespace": "wrong_namespace",
}

FAMILIES = ("Refused", "PeerMisbehaved", "BrokerUnavailable", "JournalError", "JobError")

every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def fields_of(kind: type[AioqueueError]) -> dict[str, Any]:
    """A value for each place in the kind's sentence, of the sort that its format asks for."""
    return {
        name: 7 if spec else f"the {name}"
        for _, name, spec, _ in string.Formatter().parse(kind.sentence)
        if name is not None
    }


def test_every_error_has_the_code_it_always_had() -> None:
    assert {kind.__name__: kind.code for kind in KINDS} == CODES


@every_kind
def test_an_error_is_named_by_where_people_import_it_from(kind: type[AioqueueError]) -> None:
    assert kind.__module__ == "aioqueue.errors"


def test_no_two_errors_share_a_code() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)


@every_kind
def test_every_error_states_a_code_of_its_own(kind: type[AioqueueError]) -> None:
    assert "code" in vars(kind)


@every_kind
def test_every_error_belongs_to_one_family(kind: type[AioqueueError]) -> None:
    families = [base.__name__ for base in kind.__mro__ if base.__name__ in FAMILIES]
    assert len(families) == (kind is not AioqueueError)


@every_kind
def test_every_sentence_says_its_fields(kind: type[AioqueueError]) -> None:
    fields = fields_of(kind)
    error = kind(**fields)
    assert "{" not in str(error)
    for name, value in fields.items():
        assert str(value) in str(error)
        assert getattr(error, name) == value


LONG = "a long name " * 10_000


@pytest.mark.parametrize(
    "error",
    [
        BadOption(option="id", value=LONG, reason="it is long"),
        BadOption(option="value", value=LONG.encode(), reason="it is long"),
        BadOption(option="calls", value=[LONG] * 3, reason="it is long"),
        BadName(what="queue", name=LONG, limit=128),
        BadUrl(url=LONG, reason="it has no scheme"),
        Duplicate(job="an id", task=LONG, asked=LONG),
        JobNotFound(job=LONG),
    ],
    ids=lambda error: error.code,
)
def test_no_error_repeats_a_long_value_whole(error: AioqueueError) -> None:
    assert len(str(error)) < 1_000
    assert "… (" in str(error)
    assert all(len(value) <= 200 for value in error.fields.values() if isinstance(value, str | bytes))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: own_id("default", "default", LONG),
        lambda: own_id("default", "default", "\ud800" * 10_000),
        lambda: id_bytes(LONG),
        lambda: id_bytes("-" * 100_000),
        lambda: id_range(LONG),
        lambda: check_name("queue", LONG),
        lambda: parse_address(LONG),
        lambda: Queue("memory:").task(id=LONG)(print),
        lambda: NamedTask(LONG),
        lambda: NamedTask("send").options(id=LONG),
        lambda: NamedTask("send").options(priority=LONG),
        lambda: to_ms(LONG, option="delay"),
        lambda: make_filter(0, state=LONG),
    ],
)
def test_what_a_caller_gives_is_refused_in_a_sentence_that_can_be_read(ask: Any) -> None:
    with pytest.raises(AioqueueError) as refused:
        ask()
    assert len(str(refused.value)) < 1_000


def test_a_value_that_is_not_long_is_repeated_as_it_is() -> None:
    own = "x" * 198
    error = BadOption(option="id", value=own, reason="no")
    assert repr(own) in str(error)
    assert error.value == own


@every_kind
def test_no_field_hides_what_an_exception_has(kind: type[AioqueueError]) -> None:
    assert not [name for name in fields_of(kind) if hasattr(AioqueueError(), name)]


@every_kind
def test_an_error_without_its_fields_cannot_be_raised_by_mistake(kind: type[AioqueueError]) -> None:
    if fields_of(kind):
        with pytest.raises(KeyError):
            kind()


@every_kind
def test_a_copied_error_says_the_same(kind: type[AioqueueError]) -> None:
    error = kind(**fields_of(kind))
    for made in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(made) is kind
        assert (str(made), made.fields, made.code) == (str(error), error.fields, error.code)


@every_kind
def test_an_error_crosses_the_wire_by_its_code(kind: type[AioqueueError]) -> None:
    if kind is AioqueueError:
        return
    error = kind(**fields_of(kind))
    arrived = from_wire(error.code, str(error), error.fields)
    assert type(arrived) is kind
    assert (str(arrived), arrived.fields) == (str(error), error.fields)


def test_the_words_of_the_peer_are_kept_even_where_the_fields_are_not_ours() -> None:
    arrived = from_wire("job_not_found", "in other words", {"code": 1, "message": 2, "self": 3, "kind": 4, "fields": 5})
    assert isinstance(arrived, errors.JobNotFound)
    assert str(arrived) == "in other words"
    assert arrived.code == "job_not_found"
    assert arrived.message == 2


def test_an_unknown_code_is_a_refusal_that_tells_it() -> None:
    arrived = from_wire("from_the_future", "in other words", {"limit": 5})
    assert type(arrived) is Refused
    assert str(arrived) == "in other words"
    assert arrived.fields == {"code": "from_the_future", "limit": 5}


def test_a_peers_own_field_called_code_does_no_harm() -> None:
    assert from_wire("from_the_future", "words", {"code": "x"}).fields == {"code": "from_the_future"}


def test_a_missing_field_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = errors.JobNotFound(job="a").nothing


def test_braces_in_a_message_are_said_as_they_are() -> None:
    assert str(errors.JobNotFound("a {job} {", job=1)) == "a {job} {"
    assert "{x}" in str(errors.JobNotFound(job="{x}"))


def test_a_deadline_is_a_timeout_for_those_who_catch_that() -> None:
    with pytest.raises(TimeoutError):
        raise errors.DeadlineExceeded(what="the submit", seconds=0.5)
