"""More planted bugs, in the cutting of the log: records that are carried, bases that move, replays that begin there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from aioqueue.clock import Now
from aioqueue.core import apply, cohorts, decide, leasing, staging
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.apply import ends, journal, runs
from aioqueue.core.homes import Homes
from aioqueue.core.lanes import PriorityLane
from aioqueue.core.named import ItemKind
from aioqueue.core.nouns import Bulk, Job
from aioqueue.core.partition import Partition
from aioqueue.core.state import State
from aioqueue.model.states import BulkPhase
from tests.simulator.planted import BUGS, bug
from tests.simulator.retention import Retention

# All that are planted, those of `planted` and these.
__all__ = ["BUGS"]


@bug("I5", 1_009)
def a_job_that_ended_before_it_was_carried_lives_again(patch: pytest.MonkeyPatch) -> None:
    real = decide._DECIDE[c.CarryItems]
    ended: dict[bytes, Job] = {}
    finish = ends.finish

    def remember(state: State, job: Job, *rest: Any) -> None:
        ended[job.id] = replace(job)
        finish(state, job, *rest)

    def carry(state: State, command: c.CarryItems, now: Now, bodies: Any) -> decide.Decision:
        returning = {
            item.id: ended[item.id]
            for item in command.jobs
            if item.id not in state.jobs and item.id in ended and ended[item.id].home == item.home
        }
        living = dict(state.jobs)
        state.jobs.update(returning)
        try:
            return real(state, command, now, bodies)
        finally:
            state.jobs = living

    carried = apply.APPLY[e.JobCarried]

    def take_back(state: State, event: e.JobCarried, body: bytes | None, at: apply.Moment) -> None:
        was, state.partial = state.partial, True
        carried(state, event, body, at)
        state.partial = was

    for module in (ends, runs):
        patch.setattr(module, "finish", remember)
    patch.setitem(decide._DECIDE, c.CarryItems, carry)
    patch.setitem(apply.APPLY, e.JobCarried, take_back)


@bug("I2", 1_005)
def the_base_does_not_wait_for_the_archive(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Retention, "is_archived", lambda self, position: True)


@bug("I17", 1_023)
def the_counters_are_lost_with_what_is_cut(patch: pytest.MonkeyPatch) -> None:
    real = apply.APPLY[e.BaseMoved]

    def moved(state: State, event: e.BaseMoved, body: bytes | None, at: apply.Moment) -> None:
        real(state, replace(event, next_seq=0, next_fence=0, next_session=0), body, at)

    patch.setitem(apply.APPLY, e.BaseMoved, moved)


@bug("I17", 1_003)
def sessions_have_no_home(patch: pytest.MonkeyPatch) -> None:
    real = decide._DECIDE[c.CarryItems]

    def carry(state: State, command: c.CarryItems, now: Now, bodies: Any) -> decide.Decision:
        others = [each for each in command.items if each.item.kind is not ItemKind.SESSION]
        return real(state, c.CarryItems(command.jobs, others), now, bodies)

    def of_jobs(homes: Homes) -> int | None:
        return max((*homes._counts, *homes._rare), default=None)

    patch.setitem(decide._DECIDE, c.CarryItems, carry)
    patch.setattr(Homes, "oldest", of_jobs)


@bug("I17", 1_035)
def the_log_is_cut_before_the_base_is_durable(patch: pytest.MonkeyPatch) -> None:
    real = Retention.act

    def act(self: Retention) -> None:
        real(self)
        self.trim()

    patch.setattr(Retention, "base", lambda self: self._broker.partition.state.base)
    patch.setattr(Retention, "act", act)


@bug("I17", 70_280_639_094_759)
def the_log_is_cut_where_arguments_are_being_read(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Retention, "is_read", lambda self: False)
    # Few worlds meet it. This one does where equals are served in the order of their connections.
    for module in (leasing, cohorts):
        patch.setattr(module, "by_wait", lambda session: (len(session.leases), 0))


@bug("I17", 1_003)
def carried_jobs_stand_behind_those_that_came_after_them(patch: pytest.MonkeyPatch) -> None:
    real = journal._heard_of

    def heard(state: State, job: Job) -> None:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(PriorityLane, "give_back", PriorityLane.push)
            real(state, job)

    patch.setattr(journal, "_heard_of", heard)


@bug("I17", 1_003)
def the_crashes_of_a_carried_job_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    real = journal._heard_of

    def heard(state: State, job: Job) -> None:
        job.crashes = 0
        real(state, job)

    patch.setattr(journal, "_heard_of", heard)


@bug("I2", 1_003)
def a_record_is_carried_with_the_arguments_of_its_neighbour(patch: pytest.MonkeyPatch) -> None:
    real = Retention._body

    def body(self: Retention, home: int, place: int) -> bytes:
        job = next(iter(self._broker.partition.state.jobs.values()))
        return real(self, home, place) if job.home > self._broker.durable else real(self, job.home, job.place)

    def same(one: int, other: int) -> bool:
        return True

    patch.setattr(Retention, "_body", body)
    patch.setattr(journal, "same_body", same)


@bug("I17", 1_017)
def what_happened_to_a_known_job_at_an_unknown_session_is_passed_over(patch: pytest.MonkeyPatch) -> None:
    real = Partition._is_passed_over

    def passed(self: Partition, event: e.Event, position: int) -> bool:
        if isinstance(event, e.JobLeased) and event.session not in self.state.sessions:
            return True
        return real(self, event, position)

    patch.setattr(Partition, "_is_passed_over", passed)


@bug("I17", 1_003)
def a_replay_from_a_base_begins_as_one_from_the_beginning(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Partition, "start_at", lambda self, first: None)


@bug("I17", 1_003)
def the_base_moves_past_what_still_lives(patch: pytest.MonkeyPatch) -> None:
    real_see = Retention.see

    def see(self: Retention) -> None:
        real_see(self)
        if self._seen is None and self._broker.durable > self._broker.partition.state.base:
            self._seen = self._broker.durable, self._broker.durable

    patch.setattr(Retention, "see", see)
    patch.setattr(Homes, "oldest", lambda self: None)


@bug("I17", 8_661)
def parts_behind_a_base_are_passed_over_where_the_bulk_is_not_known_yet(patch: pytest.MonkeyPatch) -> None:
    real = Partition._is_passed_over

    def passed(self: Partition, event: e.Event, position: int) -> bool:
        if isinstance(event, e.BulkStaged) and event.part and event.bulk not in self.state.bulks:
            return True
        return real(self, event, position)

    patch.setattr(Partition, "_is_passed_over", passed)


def _first_told(patch: pytest.MonkeyPatch, mistake: Callable[[State, Bulk], None]) -> None:
    """A mistake about a bulk that a replay first hears of by a part that was carried."""
    real = staging.carry_part

    def carried(state: State, event: e.BulkCarried, home: int) -> None:
        unknown = event.bulk not in state.bulks
        real(state, event, home)
        if unknown:
            mistake(state, state.bulks[event.bulk])

    patch.setattr(staging, "carry_part", carried)


@bug("I17", 3_681)
def a_bulk_that_is_carried_is_open_again(patch: pytest.MonkeyPatch) -> None:
    def opened(state: State, bulk: Bulk) -> None:
        bulk.phase, bulk.closed_at = BulkPhase.OPEN, 0
        state.closing.pop(bulk.id, None)

    _first_told(patch, opened)


@bug("I17", 1_051)
def a_bulk_that_is_carried_begins_with_the_part_that_tells_of_it(patch: pytest.MonkeyPatch) -> None:
    def begun(state: State, bulk: Bulk) -> None:
        bulk.total = bulk.parts[0].end

    _first_told(patch, begun)
