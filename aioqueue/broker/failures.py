"""What failed, in the broker's log: one line an attempt, with what follows.

The line tells what a worker's own log tells too, for whoever has only this one. It is for a broker that serves others:
where broker and worker are one program, the worker's lines are enough. In a storm so many lines a second are written,
and then how many were left out. Told by the statistician, of what is durable.
"""

from __future__ import annotations

import logging
from typing import Final

import anyio

from aioqueue.core.nouns import Job
from aioqueue.ground import Ground
from aioqueue.limits import CRASHES_MAX
from aioqueue.model.aftermath import aftermath
from aioqueue.model.bodies import unpack_failure
from aioqueue.model.ids import id_text
from aioqueue.model.records import EndedRun, FinishedJob
from aioqueue.model.sizes import count_text
from aioqueue.model.spec import unpack_spec
from aioqueue.model.states import JobState

log = logging.getLogger(__name__)

# A line costs some 30 us, and nobody reads more than a screen of them.
LINES_A_SECOND: Final = 20
_TEXT_CHARACTERS: Final = 300


class FailureLog:
    """One for each broker that serves; `run` is its life."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._told = 0
        self._left_out = 0
        self._begun = anyio.Event()

    def tell(self, run: EndedRun, job: Job | FinishedJob) -> None:
        """An attempt has failed or crashed; `job` is what became of its job."""
        self._begun.set()
        if self._told == LINES_A_SECOND:
            self._left_out += 1
            return
        self._told += 1
        level = logging.WARNING if job.state is JobState.DEAD else logging.INFO
        if log.isEnabledFor(level):
            log.log(level, "%s", self._line(run, job))

    async def run(self) -> None:
        """Say how many were left out, each second in which some were; until cancelled."""
        rounds = self._ground.every(1.0)
        while True:
            await self._begun.wait()
            await anext(rounds)
            self._begun = anyio.Event()
            left_out, self._told, self._left_out = self._left_out, 0, 0
            if left_out:
                log.warning("%s more failed in the last second", count_text(left_out, "attempt"))

    def _line(self, run: EndedRun, job: Job | FinishedJob) -> str:
        home = job.spec if isinstance(job, Job) else job
        where = home.queue if home.namespace == "default" else f"{home.queue} of namespace {home.namespace}"
        begin = f"job {id_text(run.id)} of task {home.task} in queue {where}"
        if run.outcome == "crashed":
            return f"{begin} was lost with its worker {run.worker}, which died or was cut off; {_after_crash(job)}"
        failure = unpack_failure(run.body)
        text = f"{failure.type}: {failure.text}" if failure.text else failure.type
        return f"{begin} failed on {run.worker}: {_cut(text)}; {self._follows(job, failure.retry)}"

    def _follows(self, job: Job | FinishedJob, retry: bool) -> str:
        spec = job.spec if isinstance(job, Job) else unpack_spec(job.spec)
        due_ms = job.due_ms if isinstance(job, Job) and job.state is JobState.SCHEDULED else 0
        in_ms = max(0, due_ms - self._ground.now().wall_ms)
        return aftermath(job.state, job.failures, spec.retry.attempts, in_ms, retry=retry)


def _after_crash(job: Job | FinishedJob) -> str:
    if job.state is JobState.DEAD:
        return f"dead: {job.crashes} of its runs were lost so"
    return (
        f"again at once, which spends no attempt ({job.crashes} of {CRASHES_MAX})"
        if isinstance(job, Job)
        else job.state.label
    )


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_CHARACTERS else text[:_TEXT_CHARACTERS] + "…"
