"""What a run knows of itself."""

from __future__ import annotations

import asyncio
import logging

import pytest

from aioqueue.client.context import Context, ask_to_stop
from aioqueue.model.ids import id_text, own_id

JOB = own_id("shop", "mail", "invoice-42")


def test_a_context_tells_its_run() -> None:
    context = Context(JOB, task="send", queue="mail", attempt=3, crashes=1, headers={"trace": "7"})
    assert (context.job, context.task, context.queue) == (id_text(JOB), "send", "mail")
    assert (context.attempt, context.crashes, context.headers) == (3, 1, {"trace": "7"})


def test_the_headers_of_a_run_are_its_own() -> None:
    given = {"trace": "7"}
    context = Context(JOB, task="send", queue="mail", headers=given)
    context.headers["more"] = "x"
    assert given == {"trace": "7"}


def test_a_record_of_the_log_leads_to_its_job(caplog: pytest.LogCaptureFixture) -> None:
    context = Context(JOB, task="send", queue="mail", attempt=2)
    with caplog.at_level(logging.INFO, "aioqueue.job"):
        context.log.info("sent %d letters", 3)
    (record,) = caplog.records
    assert record.getMessage() == f"send {id_text(JOB)}: sent 3 letters"
    assert record.__dict__["job"] == id_text(JOB)
    assert (record.__dict__["task"], record.__dict__["attempt"]) == ("send", 2)


def test_a_record_of_the_log_keeps_the_extra_that_it_was_given(caplog: pytest.LogCaptureFixture) -> None:
    context = Context(b"", task="send", queue="mail")
    with caplog.at_level(logging.INFO, "aioqueue.job"):
        context.log.info("sent", extra={"to": "ada"})
    (record,) = caplog.records
    assert record.getMessage() == "send: sent"
    assert (record.__dict__["to"], record.__dict__["task"]) == ("ada", "send")


def test_a_task_that_is_called_directly_has_no_job() -> None:
    assert Context(b"", task="send", queue="mail").job == ""


def test_a_run_in_a_thread_should_stop_when_its_worker_asks_it() -> None:
    context = Context(b"", task="t", queue="q")
    assert not context.should_stop()
    ask_to_stop(context)
    assert context.should_stop()


async def test_a_coroutine_that_was_cancelled_should_stop() -> None:
    context = Context(b"", task="t", queue="q")
    seen: list[bool] = []

    async def run() -> None:
        seen.append(context.should_stop())
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(context.should_stop())

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert seen == [False, True]
