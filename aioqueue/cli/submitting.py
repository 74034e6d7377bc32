"""From words on a command line to a job, and its end as text or JSON."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, Final, NamedTuple

import msgspec
import typer

from aioqueue.cli.loading import load_task
from aioqueue.cli.outcome import DONE, JOB_FAILED, out, say
from aioqueue.cli.running import check_reachable, queue_at
from aioqueue.cli.waiting import tell_while_waiting
from aioqueue.client.connecting import warning_of
from aioqueue.client.documents import json_text
from aioqueue.client.job import Job
from aioqueue.client.named import NamedTask
from aioqueue.client.queue import Queue, looked_up
from aioqueue.client.task import Task
from aioqueue.errors import BadOption, JobError, JobFailed
from aioqueue.monitor.text import plain, short

# Whoever sits at a terminal wants to know, whatever the program whose queue it is waits for.
SUBMIT_SECONDS = 30.0
# What begins so was meant as JSON: a worker would be given the text of it, and nobody would be told.
_BEGINS_JSON: Final = frozenset('{["')
_SHOWN: Final = 80


class Submission(NamedTuple):
    """What is to be submitted, and where; without `url` or `namespace` the module's own, or the default."""

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    url: str
    namespace: str | None
    unregistered: bool = False


def parsed_arguments(task: str, words: list[str], args: str, kwargs: str) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a job. Raises `typer.BadParameter` for JSON that is none, or not of the right kind."""
    by_name = _json("--kwargs", kwargs, dict) if kwargs else {}
    if args and words:
        raise typer.BadParameter("give the arguments one by one, or all by --args")
    if args:
        return _json("--args", args, list), by_name
    values = [_json_or_text(word) for word in words]
    if ":" not in task and len(values) == 1 and isinstance(values[0], list):
        return values[0], by_name
    return values, by_name


def submit_one(submission: Submission, *, wait: bool, timeout: str | None, json: bool) -> Coroutine[Any, Any, int]:
    """Submit, print, and give the exit code. Raises what `Queue.submit` and `Job.result` raise, save `JobError`.

    The broker has `SUBMIT_SECONDS` to answer."""
    # Before there is an event loop: the app that is imported may be a program, which begins one of its own.
    queue, task = _found(submission)
    return _submit(queue, task, submission, wait=wait, timeout=timeout, json=json)


async def _submit(
    queue: Queue,
    task: Task[..., Any] | NamedTask[Any],
    submission: Submission,
    *,
    wait: bool,
    timeout: str | None,
    json: bool,
) -> int:
    # What is wrong with the arguments is told whether or not a broker answers.
    body = task.pack(tuple(submission.args), submission.kwargs)
    if isinstance(task, Task):
        # Words of a shell are easily of the wrong type; the worker would find out, but nobody may be there to see it.
        task.signature.unpack(body)
    if warning := warning_of(queue):
        say(f"warning: {warning}")
    check_reachable(queue, create=True)
    job: Job[Any]
    async with queue:
        patient = queue.using(timeout=SUBMIT_SECONDS)
        if isinstance(task, NamedTask):
            task = await _looked_up(patient, task)
        job = await patient.submit(task, *submission.args, **submission.kwargs)
        if job.existed:
            say(f"job {job.id} existed already; nothing was submitted")
        if not wait:
            out(json_text({"id": job.id, "task": job.task, "existed": job.existed}) if json else job.id)
            return DONE
        watched = sys.stderr.isatty()
        if watched:
            print(job.id, file=sys.stderr, flush=True)
        telling = asyncio.create_task(tell_while_waiting(queue, job, reasons=watched))
        try:
            result = await job.result(timeout)
        except JobError as error:
            return _tell_end_without_result(job, error, json)
        finally:
            telling.cancel()
    document = {"id": job.id, "task": job.task, "existed": job.existed, "state": "succeeded", "result": result}
    out(json_text(document) if json else json_text(result))
    return DONE


async def _looked_up(queue: Queue, task: NamedTask[Any]) -> NamedTask[Any]:
    """The task as workers have registered it; what nobody can check yet is said."""
    task, nothing_registered = await looked_up(queue, task)
    if nothing_registered and not task.unregistered:
        say(
            f"no worker has registered a task in namespace {queue.namespace} yet: {task.name} is submitted with the "
            "default options, and its arguments are not checked"
        )
    return task


def _tell_end_without_result(job: Job[Any], error: JobError, json: bool) -> int:
    failed = isinstance(error, JobFailed)
    failure = {name: error.fields.get(name, "") for name in ("type", "text", "traceback")} if failed else None
    if json:
        state = "dead" if failed else error.code.removeprefix("job_")
        found = {"id": job.id, "task": job.task, "existed": job.existed, "state": state, "failure": failure}
        out(json_text(found))
    elif failure is not None and failure["traceback"]:
        print(plain(failure["traceback"].rstrip(), lines=True), file=sys.stderr)
    say(error)
    return JOB_FAILED


def _found(submission: Submission) -> tuple[Queue, Task[..., Any] | NamedTask[Any]]:
    """The queue to submit by, and the task with the options of this submit."""
    task: Task[..., Any] | NamedTask[Any]
    if ":" in submission.task:
        task, own = load_task(submission.task)
        if own is not None:
            queue = own
            if submission.namespace not in {None, queue.namespace}:
                reason = f"the queue of {submission.task} has namespace {queue.namespace}"
                raise BadOption(option="namespace", value=submission.namespace, reason=reason)
            if submission.url:
                queue.url = submission.url
            # A worker of this short life would take jobs and drop them.
            queue.worker = False
        else:
            queue = queue_at(submission.url, submission.namespace or "default", create=True)
    else:
        task = NamedTask(submission.task, unregistered=submission.unregistered)
        queue = queue_at(submission.url, submission.namespace or "default", create=True)
    if submission.options:
        task = task.options(**submission.options)
    return queue, task


def _json(option: str, text: str, kind: type) -> Any:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise typer.BadParameter(f"{option} is not JSON: {error}") from None
    if not isinstance(value, kind):
        raise typer.BadParameter(f"{option} must be a JSON {'array' if kind is list else 'object'}")
    return value


def _json_or_text(word: str) -> Any:
    try:
        return msgspec.json.decode(word)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        if word.lstrip()[:1] in _BEGINS_JSON:
            shown = short(plain(word), _SHOWN)
            hint = "for text that begins so, write it as a JSON string"
            raise typer.BadParameter(f"{shown} looks like JSON and is none: {error}; {hint}") from None
        return word
