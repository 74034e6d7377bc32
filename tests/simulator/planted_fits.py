"""More planted bugs, in who may take a job: fits, slots of two classes, misfits, and workers of all queues."""

from __future__ import annotations

from typing import Any

import pytest

from aioqueue.core import apply, cohorts, decide, families, partition
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.apply import runs as applied_runs
from aioqueue.core.decide import runs
from aioqueue.core.decide.sessions import open_session
from aioqueue.core.lanes import Heads, PriorityLane, SplitLane
from aioqueue.core.lanes.line import Line
from aioqueue.core.nouns import Job, Offer, Session, SlotClass
from aioqueue.core.queues import QueueState
from aioqueue.core.state import State
from aioqueue.model.states import JobState
from tests.simulator.drafts import QUEUES
from tests.simulator.planted import bug
from tests.simulator.planted_ids import BUGS

# All that are planted, those of the other files and these.
__all__ = ["BUGS"]


@bug("I22", 200_031)
def children_go_wherever_their_parents_run(patch: pytest.MonkeyPatch) -> None:
    def is_ready_for(job: Job, session: Session) -> bool:
        return job.state is JobState.READY and session.link.offer.serves(job.spec.key)

    patch.setattr(families, "_is_ready_for", is_ready_for)


@bug("I22", 200_004)
def suspects_go_to_whoever_is_hungry(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cohorts, "_first_of_each_class", lambda line, offer: list(line)[:1])


@bug("I22", 200_008)
def what_a_worker_declares_when_it_returns_is_passed_over(patch: pytest.MonkeyPatch) -> None:
    real = apply.APPLY[e.LinkDeclared]

    def declared(state: State, event: e.LinkDeclared, body: bytes | None, at: apply.Moment) -> None:
        if state.sessions[event.number].link.since_fence == 0:
            real(state, event, body, at)

    patch.setitem(apply.APPLY, e.LinkDeclared, declared)


@bug("I22", 200_000)
def a_worker_that_returns_gets_jobs_before_it_declares_what_it_knows(patch: pytest.MonkeyPatch) -> None:
    def opened(state: State, command: c.OpenSession, now: Any, bodies: Any) -> decide.Decision:
        decision = open_session(state, command, now, bodies)
        for event, _ in decision.events:
            if isinstance(event, e.LinkChanged) and event.opened is None:
                event.slots, event.queues = 2, QUEUES
        return decision

    patch.setitem(decide._DECIDE, c.OpenSession, opened)


@bug("I22", 200_000)
def lines_that_were_split_are_never_joined(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(partition, "decide_joined", lambda state: [])


@bug("I22", 200_004)
def a_process_counts_as_a_coroutine(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Session, "processes_held", 0)


@bug("liveness", 200_000)
def a_worker_whose_processes_are_busy_takes_nothing(patch: pytest.MonkeyPatch) -> None:
    real = Session.rooms.fget  # type: ignore[attr-defined]

    def rooms(session: Session) -> tuple[SlotClass, ...]:
        found: tuple[SlotClass, ...] = real(session)
        return found if SlotClass.PROCESS in found else ()

    patch.setattr(Session, "rooms", property(rooms))


@bug("I8", 200_016)
def a_misfit_spends_an_attempt(patch: pytest.MonkeyPatch) -> None:
    real = apply.APPLY[e.JobMisfit]

    def misfit(state: State, event: e.JobMisfit, body: bytes | None, at: apply.Moment) -> None:
        real(state, event, body, at)
        state.jobs[event.id].failures += 1

    patch.setitem(apply.APPLY, e.JobMisfit, misfit)


@bug("I22", 200_016)
def a_misfit_goes_back_to_the_worker_that_refused_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(applied_runs, "shut_task", lambda state, session, task: None)


@bug("I22", 200_016)
def what_nobody_is_left_to_take_goes_back_all_the_same(patch: pytest.MonkeyPatch) -> None:
    def end(state: State, job: Job, item: c.EndRun, bodies: Any) -> tuple[e.Event, bytes | None]:
        return e.JobMisfit(job.id, item.fence), None

    patch.setattr(runs, "end_of_misfit", end)


@bug("I22", 200_000)
def labels_are_looked_at_by_nobody(patch: pytest.MonkeyPatch) -> None:
    real = Offer.takes
    patch.setattr(Offer, "takes", lambda offer, fit: real(offer, fit._replace(labels=())))


@bug("I22", 200_008)
def all_queues_are_those_that_are_there(patch: pytest.MonkeyPatch) -> None:
    real = State.busy_queue

    def busy_queue(self: State, key: tuple[str, str]) -> QueueState:
        every, self.every = self.every, {}
        try:
            return real(self, key)
        finally:
            self.every = every

    patch.setattr(State, "busy_queue", busy_queue)


@bug("liveness", 200_000)
def a_job_that_comes_to_an_empty_line_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    def line(lane: PriorityLane, priority: int) -> Line:
        if priority not in lane._lines:
            lane._lines[priority] = Line()
            lane._ordered = [lane._lines[priority] for priority in sorted(lane._lines, reverse=True)]
        return lane._lines[priority]

    patch.setattr(PriorityLane, "_line", line)


@bug("I10", 200_004)
def a_head_that_falls_is_looked_for_where_it_was(patch: pytest.MonkeyPatch) -> None:
    real = Heads.fell

    def fell(heads: Heads, source: Any, rank: int) -> None:
        if source not in heads._listed:
            real(heads, source, rank)

    patch.setattr(Heads, "fell", fell)


@bug("I10", 200_004)
def a_job_that_makes_way_goes_behind_its_like(patch: pytest.MonkeyPatch) -> None:
    real = SplitLane.part

    def part(lane: SplitLane, job: Job) -> Any:
        if job.spec.fit in lane.own and lane.main.depth > 1:
            lane.main.lease(job)
            lane.main.push(job)
            return None
        return real(lane, job)

    patch.setattr(SplitLane, "part", part)
