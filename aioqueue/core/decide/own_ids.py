"""Ids that are taken: whose they are, and when a caller's own id may be used again. Called by `submit` alone.

An id names one job. Who submits under one that is there is told so; another task under it is refused, for its caller
would wait for a result that is none of its own. A caller's own id is free again when its job was forgotten so long ago
that nobody repeats the submit which made it: what lives under it then is another use, of a higher generation, so that
whoever still speaks of the one before (a retry that is said again, a row of the archive) is not taken to mean this one.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.state import State
from aioqueue.errors import Duplicate
from aioqueue.limits import OWN_ID_FREED_MS
from aioqueue.model.ids import id_text
from aioqueue.model.records import NO_TERMS

_FRESH, _FINISHED, _FORGOTTEN = c.Known.FRESH, c.Known.FINISHED, c.Known.FORGOTTEN


def settle_forgotten(items: Sequence[c.NewJob], wall_ms: int) -> None:
    """A job that was forgotten a moment ago is there still: from here on `FORGOTTEN` means that the id is free."""
    for item in items:
        if item.known is _FORGOTTEN and not is_free(item.before, wall_ms):
            item.known = _FINISHED


def is_free(before: c.Before | None, wall_ms: int) -> bool:
    """Whether an own id may be used again."""
    return before is not None and 0 < before.forgotten_ms < wall_ms - OWN_ID_FREED_MS


def duplicates(state: State, items: Sequence[c.NewJob]) -> dict[int, Duplicate]:
    """Those of a submit, by their index, whose id is another task's: of a job that is there, or of one before them."""
    found: dict[int, Duplicate] = {}
    here: dict[bytes, str] = {}
    for index, item in enumerate(items):
        if item.known is _FRESH:
            continue
        task = item.spec.task
        other = _task_there(state, item)
        if other is None:
            other = here.setdefault(item.id, task)
        if other != task:
            found[index] = Duplicate(job=id_text(item.id), task=other, asked=task)
    return found


def _task_there(state: State, item: c.NewJob) -> str | None:
    """Of which task the job is that has the id: the same where nobody knows any more; None where there is no job."""
    own = item.spec
    job = state.jobs.get(item.id)
    if job is not None:
        return job.spec.task if job.spec.namespace == own.namespace else own.task
    if item.known is not _FINISHED:
        return None
    return item.before.task if item.before is not None and item.before.namespace == own.namespace else own.task


def begin_new_uses(items: Sequence[c.NewJob], events: Sequence[tuple[e.Event, bytes | None]]) -> None:
    """Of these submits, those of ids that were used before are journaled as new uses."""
    free = {item.id: item.before.generation + 1 for item in items if item.known is _FORGOTTEN and item.before}
    for event, _ in events if free else ():
        if isinstance(event, e.JobSubmitted) and event.id in free:
            event.generation = free[event.id]
            event.terms = replace(event.terms or NO_TERMS, first_generation=event.generation)
