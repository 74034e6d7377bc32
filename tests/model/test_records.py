"""The archive's nouns as bytes: their fields keep their places."""

from __future__ import annotations

import msgpack
import msgspec
import pytest

from aioqueue.model.records import (
    NO_EXTRA,
    EndedRun,
    FinishedJob,
    JobExtra,
    pack_extra,
    unpack_extra,
)
from aioqueue.model.states import JobState
from tests.support.finished import ended, finished


def test_the_fields_of_a_finished_job_keep_their_places() -> None:
    assert FinishedJob.__struct_fields__ == (
        "id", "namespace", "queue", "task", "state", "generation", "failures", "crashes", "runs", "fence", "priority",
        "submitted_ms", "started_ms", "finished_ms", "keep_ms", "worker", "position", "spec", "body", "args", "extra",
        "terms", "note",
    )  # fmt: skip


def test_the_fields_of_an_ended_run_keep_their_places() -> None:
    assert EndedRun.__struct_fields__ == (
        "id", "generation", "run", "outcome", "started_ms", "ended_ms", "worker", "body",
    )  # fmt: skip


def test_records_are_plain_arrays_and_come_back_as_they_were() -> None:
    for record in (finished(1, JobState.EXPIRED, keep_ms=5), ended(1)):
        data = msgspec.msgpack.encode(record)
        assert msgpack.unpackb(data) == list(msgspec.structs.astuple(record))
        assert msgspec.msgpack.decode(data, type=type(record)) == record


def test_a_record_of_no_known_state_is_refused() -> None:
    data = msgspec.msgpack.encode(msgspec.structs.replace(finished(1), state=11))
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(data, type=FinishedJob)


def test_what_few_jobs_have_comes_back_as_it_was() -> None:
    extra = JobExtra(b"\x81\xa1a\xa1b", "invoice-42", {3: b"\xc3"})
    assert unpack_extra(pack_extra(extra)) == extra


def test_most_jobs_have_nothing_extra() -> None:
    assert unpack_extra(None) == unpack_extra(b"") == NO_EXTRA == JobExtra(b"", "", {})
