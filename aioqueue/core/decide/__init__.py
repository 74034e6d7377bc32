"""Deciding may refuse, and never changes anything.

`decide` looks at the state and one command, and says which events would make it so and what the asker is answered.
What it refuses it refuses by raising a `Refused`; then nothing has happened. `NeedsLookup` is neither: the same command
comes again with what the shell found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aioqueue.clock import Now
from aioqueue.core import commands as c
from aioqueue.core.decide.bulks import commit_bulk, drop_bulk, stage_bulk
from aioqueue.core.decide.ends import cancel_job, inspect_job, requeue_job
from aioqueue.core.decide.journal import carry_items, limit_admission, move_base, skip_time
from aioqueue.core.decide.registry import declare_tasks, set_tasks
from aioqueue.core.decide.runs import settle
from aioqueue.core.decide.sessions import (
    declare_offer,
    end_session,
    hear_session,
    lose_link,
    offer_capacity,
    open_session,
    resume_session,
    throttle_link,
)
from aioqueue.core.decide.submit import submit_jobs
from aioqueue.core.decision import BodyArea, Decision
from aioqueue.core.state import State

__all__ = ["decide"]


def decide(state: State, command: c.Command, now: Now, bodies: BodyArea) -> Decision:
    """What the command comes to. Raises a `Refused` (and then adds nothing to `bodies`)."""
    decision: Decision = _DECIDE[type(command)](state, command, now, bodies)
    return decision


_DECIDE: dict[type[c.Command], Callable[[State, Any, Now, BodyArea], Decision]] = {
    c.SubmitJobs: submit_jobs,
    c.SettleRuns: settle,
    c.CancelJob: cancel_job,
    c.RequeueJob: requeue_job,
    c.InspectJob: inspect_job,
    c.OpenSession: open_session,
    c.ResumeSession: resume_session,
    c.DeclareOffer: declare_offer,
    c.OfferCapacity: offer_capacity,
    c.LoseLink: lose_link,
    c.ThrottleLink: throttle_link,
    c.HearSession: hear_session,
    c.EndSession: end_session,
    c.CarryItems: carry_items,
    c.DeclareTasks: declare_tasks,
    c.SetTasks: set_tasks,
    c.MoveBase: move_base,
    c.SkipTime: skip_time,
    c.LimitAdmission: limit_admission,
    c.StageBulk: stage_bulk,
    c.CommitBulk: commit_bulk,
    c.DropBulk: drop_bulk,
}
