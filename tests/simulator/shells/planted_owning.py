"""Bugs of ids that are used again, planted in the real broker, archive and client: each is found in a world of owners.

`python -m tests.simulator --level 4 --bug NAME --seeds 100` finds another seed when the world has changed.
"""

from __future__ import annotations

from typing import Any

import pytest

from aioqueue.archive import memory
from aioqueue.broker import lookup
from aioqueue.client import submitting
from aioqueue.core import commands as c
from aioqueue.core.decide import own_ids, submit
from tests.simulator.planted import Bug, Plant

BUGS: list[Bug] = []


def bug(promise: str, seed: int) -> Any:
    """Register a bug under the words of its function's name."""

    def register(plant: Plant) -> Plant:
        BUGS.append(Bug(plant.__name__, promise, seed, plant))
        return plant

    return register


@bug("I14", 0)
def an_id_is_free_while_its_job_is_still_asked_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(own_ids, "is_free", lambda before, wall_ms: before is not None and before.forgotten_ms > 0)


@bug("I14", 0)
def nobody_is_told_that_the_job_existed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(submitting, "_tell_what_existed", lambda parcel, message: None)


@bug("I7", 0)
def a_tombstone_does_not_tell_the_generation(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(memory, "kept_generation", lambda job_id, generation: 0)


@bug("I14", 1)
def a_user_gets_the_job_of_another_task(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(submit, "duplicates", lambda state, items: {})


@bug("I14", 0)
def what_the_archive_has_forgotten_never_was(patch: pytest.MonkeyPatch) -> None:
    real = lookup._tell_submit

    def tell(job: c.NewJob, end: Any) -> None:
        real(job, end)
        if job.known is c.Known.FORGOTTEN:
            job.known = c.Known.ABSENT

    patch.setattr(lookup, "_tell_submit", tell)
