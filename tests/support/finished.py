"""Finished jobs and ended runs for tests, each told apart by a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from aioqueue.model.bodies import pack_body
from aioqueue.model.ids import generated_id
from aioqueue.model.records import Act, EndedRun, FinishedJob, LogPart
from aioqueue.model.spec import Spec, pack_spec
from aioqueue.model.states import JobState

START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def job_id(number: int) -> bytes:
    """The same id for the same number, in every process."""
    return generated_id("default", "default", START_MS + number, number.to_bytes(8, "big"))


def finished(number: int, state: JobState = JobState.SUCCEEDED, **changes: Any) -> FinishedJob:
    """Job `number`, which ended `number` milliseconds after the start."""
    job = FinishedJob(
        id=job_id(number),
        namespace="default",
        queue="default",
        task="shop.mail.send",
        state=state,
        generation=0,
        failures=0,
        crashes=0,
        runs=1,
        fence=number + 1,
        priority=5,
        submitted_ms=START_MS + number - 20,
        started_ms=START_MS + number - 10,
        finished_ms=START_MS + number,
        keep_ms=-1,
        worker="worker-1",
        position=number + 1,
        spec=pack_spec(Spec("default", "default", "shop.mail.send")),
        body=pack_body({"number": number}),
        args=b"",
        extra=b"",
    )
    return msgspec.structs.replace(job, **changes)


def ended(number: int, run: int = 1, generation: int = 0, body: bytes = b"\x01\xc0") -> EndedRun:
    """A failed run of job `number`."""
    return EndedRun(job_id(number), generation, run, "failed", START_MS, START_MS + run, "worker-1", body)


def act(number: int, **changes: Any) -> Act:
    """An act `number` milliseconds after the start."""
    done = Act(
        position=number + 1, place=0, at_ms=START_MS + number, act="pause", namespace="default", subject="mail",
        number=3, name="cli:anna@host", origin="10.0.0.7", reason="the provider is down", before="open", after="paused",
    )  # fmt: skip
    return msgspec.structs.replace(done, **changes)


def logged(number: int, part: int = 0, generation: int = 0, lines: Sequence[str] = ("begun", "done")) -> LogPart:
    """Some lines of job `number`."""
    return LogPart(job_id(number), generation, part, START_MS + part, list(lines), part)
