"""What keeps the journal short, and what the shell knows of the machine: its time, its disk.

Nothing here is refused: what was seen of an item and is not so any more is not carried, and a base stays where it is
while anything has its home below.
"""

from __future__ import annotations

from aioqueue.clock import Now
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.decision import BodyArea, Decision
from aioqueue.core.homes import job_bytes
from aioqueue.core.items import home_of, item_bytes, record_of
from aioqueue.core.state import State


def carry_items(state: State, command: c.CarryItems, now: Now, bodies: BodyArea) -> Decision:
    """What is so now of the items that are still at home where they were seen; the events that follow go on from it."""
    events: list[tuple[e.Event, bytes | None]] = []
    carried_bytes = 0
    for seen in command.items:
        if seen.home and home_of(state, seen.item) == seen.home:
            carried_bytes += item_bytes(state, seen.item)
            events.append((record_of(state, seen.item), None))
    for item in command.jobs:
        job = state.jobs.get(item.id)
        if job is None or job.home != item.home:
            continue
        offset, length, crc = bodies.add(item.body)
        bodies.carried += length
        carried_bytes += job_bytes(job)
        event = e.JobCarried(
            job.id, job.spec.packed, job.seq, job.state, job.due_ms, job.submitted_ms, offset, length, crc, job.extra,
            job.generation, job.failures, job.crashes, job.runs, job.fence, job.session, job.started_ms,
        )  # fmt: skip
        if job.rare is not None:
            event.terms, event.cause, event.note = job.rare.terms, job.rare.cause, job.rare.note
        events.append((event, item.body))
    return Decision(events, carried_bytes)


def move_base(state: State, command: c.MoveBase, now: Now, bodies: BodyArea) -> Decision:
    oldest = state.homes.oldest()
    if state.doomed:
        # A replay from there would not know whose children are to end; in a few batches none are.
        return Decision([], False)
    if command.base <= state.base or (oldest is not None and oldest < command.base):
        return Decision([], False)
    moved = e.BaseMoved(command.base, command.head, state.next_seq, state.next_fence, state.next_session)
    return Decision([(moved, None)], True)


def skip_time(state: State, command: c.SkipTime, now: Now, bodies: BodyArea) -> Decision:
    def later(heard_ms: int) -> int:
        return min(heard_ms + command.gap_ms, now.mono_ms)

    sessions = [(e.SessionHeard(each.number, later(each.link.heard_ms)), None) for each in state.sessions.values()]
    bulks = [(e.BulkHeard(each.id, later(each.heard_ms)), None) for each in state.bulks.values()]
    return Decision([*sessions, *bulks], None)


def limit_admission(state: State, command: c.LimitAdmission, now: Now, bodies: BodyArea) -> Decision:
    return Decision([(e.AdmissionChanged(command.shut), None)], None)
