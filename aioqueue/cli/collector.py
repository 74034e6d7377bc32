"""Python's collector in a process that is nothing but a broker: it must not look at a million waiting jobs.

A job is no garbage before its end, and is in no cycle: but a full pass looks at each, at 0.1 us apiece, and all else
stands still. So what is there is frozen, out of the collector's sight: at the start, and again whenever many more jobs
wait. When they are gone, everything is given back to it. A program that embeds a broker keeps its collector as it is.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio

# A full pass over so many jobs takes some 4 ms.
JOBS_UNFROZEN_MAX: Final = 20_000
LOOK_SECONDS: Final = 1.0


@contextmanager
def uncollected() -> Iterator[None]:
    """No collection inside, as a start makes a million objects and no garbage; what is there at its end is frozen."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


class Frost:
    """How many jobs lived when everything was frozen last."""

    def __init__(self, living: int) -> None:
        self._frozen = living

    def look(self, living: int) -> None:
        """Freeze or thaw, as so many jobs demand."""
        if living > self._frozen + JOBS_UNFROZEN_MAX:
            # The young garbage goes first, or it would be frozen with the rest.
            gc.collect(1)
            gc.freeze()
            self._frozen = living
        elif self._frozen > JOBS_UNFROZEN_MAX and living < JOBS_UNFROZEN_MAX // 2:
            gc.unfreeze()
            self._frozen = living


async def keep_frozen(living: Callable[[], int]) -> None:
    """Look once a second, until cancelled."""
    frost = Frost(living())
    while True:
        await anyio.sleep(LOOK_SECONDS)
        frost.look(living())
