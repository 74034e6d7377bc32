"""Planted bugs of ids that are used again: freed too early, counted too low, given to another task's caller."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from aioqueue.clock import Now
from aioqueue.core import commands as c
from aioqueue.core import decide
from aioqueue.core import events as e
from aioqueue.core.decide import own_ids, submit
from aioqueue.core.state import State
from aioqueue.model.records import NO_TERMS
from tests.simulator.broker import Broker
from tests.simulator.planted import bug
from tests.simulator.planted_registry import BUGS

# All that are planted, those of the other files and these.
__all__ = ["BUGS"]


def _change_new_uses(patch: pytest.MonkeyPatch, change: Any) -> None:
    real = own_ids.begin_new_uses

    def begin(items: Any, events: Any) -> None:
        real(items, events)
        for event, _ in events:
            if isinstance(event, e.JobSubmitted) and event.generation:
                change(event)

    patch.setattr(submit, "begin_new_uses", begin)


@bug("I14", 200_027)
def an_id_is_free_as_soon_as_its_job_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(own_ids, "is_free", lambda before, wall_ms: before is not None and before.forgotten_ms > 0)


@bug("I14", 200_027)
def a_new_use_of_an_id_begins_at_generation_0(patch: pytest.MonkeyPatch) -> None:
    def begin(event: e.JobSubmitted) -> None:
        event.generation, event.terms = 0, None

    _change_new_uses(patch, begin)


@bug("I7", 200_035)
def a_new_use_of_an_id_is_not_above_the_one_before(patch: pytest.MonkeyPatch) -> None:
    def lower(event: e.JobSubmitted) -> None:
        if event.generation > 1:
            event.generation -= 1
            event.terms = replace(event.terms or NO_TERMS, first_generation=event.generation)

    _change_new_uses(patch, lower)


@bug("I5", 200_027)
def a_new_use_of_an_id_is_journaled_as_a_requeue(patch: pytest.MonkeyPatch) -> None:
    def forget(event: e.JobSubmitted) -> None:
        event.terms = None

    _change_new_uses(patch, forget)


@bug("I14", 200_075)
def a_requeue_forgets_since_when_its_id_is_used(patch: pytest.MonkeyPatch) -> None:
    real = decide._DECIDE[c.RequeueJob]

    def requeue(state: State, command: c.RequeueJob, now: Now, bodies: decide.BodyArea) -> decide.Decision:
        decision = real(state, command, now, bodies)
        for event, _ in decision.events:
            if isinstance(event, e.JobSubmitted) and event.terms is not None:
                event.terms = replace(event.terms, first_generation=0)
        return decision

    patch.setitem(decide._DECIDE, c.RequeueJob, requeue)


@bug("I14", 200_075)
def a_late_resend_starts_the_job_of_a_new_use_once_more(patch: pytest.MonkeyPatch) -> None:
    """The tombstone of the use before is believed, though the archive has the end of this one."""
    real = Broker._tell

    def tell(self: Broker, command: c.Command, ids: Any) -> None:
        ids = list(ids)
        real(self, command, ids)
        for item in command.items if isinstance(command, c.SubmitJobs) else ():
            row = self.archive.rows.get(item.id)
            if item.id in ids and row is not None and row.generation and item.known is c.Known.FINISHED:
                item.known, item.before = c.Known.FORGOTTEN, c.Before(row.generation, forgotten_ms=1)

    patch.setattr(Broker, "_tell", tell)


@bug("I14", 200_011)
def a_submit_gets_the_job_of_another_task(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(submit, "duplicates", lambda state, items: {})


@bug("I14", 200_051)
def a_task_is_compared_with_living_jobs_only(patch: pytest.MonkeyPatch) -> None:
    real = submit.duplicates

    def duplicates(state: State, items: Any) -> Any:
        return real(state, [replace(item, before=None) for item in items])

    patch.setattr(submit, "duplicates", duplicates)


@bug("I2", 200_011)
def an_atomic_submit_is_taken_but_for_what_is_another_tasks(patch: pytest.MonkeyPatch) -> None:
    real = submit._look_at

    def look(state: State, items: Any, known: Any, atomic: bool, wall_ms: int) -> Any:
        return real(state, items, known, False, wall_ms)

    patch.setattr(submit, "_look_at", look)
