"""Log-structured retention: the journal loses its oldest part by writing the little that lives in it again.

The log is all that recovery reads: the batches from the base to the end. When it is longer than it may be, what has
its home in the oldest segment is carried to the head, a few items at a time among all other commands; what changed
meanwhile is dropped by core, which sees it as it is then. When nothing lives there any more, and the archive has all
that ended until then, the base moves behind the segment, and the journal may trim it.

What is carried is earned by what is appended: a byte for a byte. So at most half of all that is written is carried,
nothing is carried where nothing is written, and there is never a pause: what one batch takes along is bounded, and it
always has room for others. Segments without life are not even read.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from aioqueue.broker.bodies import Bodies
from aioqueue.broker.engine import Engine
from aioqueue.broker.line import Query
from aioqueue.broker.overlay import Overlay
from aioqueue.broker.storage import JournalBounds
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core.homes import job_bytes
from aioqueue.core.items import home_of, item_bytes
from aioqueue.core.records import decode_events
from aioqueue.core.state import living_bytes
from aioqueue.journal.base import Journal
from aioqueue.journal.batch import HEADER_BYTES, Batch, BatchKind
from aioqueue.limits import (
    CARRY_AHEAD_BYTES,
    CARRY_AHEAD_ITEMS,
    CARRY_BYTES_TARGET,
    CARRY_ITEMS_MAX,
)

log = logging.getLogger(__name__)

# The log may be so many times as long as what lives in it, however much that is: each byte earned then frees two.
_LIVES: Final = 2


class Compactor:
    """One for each engine; `run` is its life, and `run_trims` beside it: a base need not wait for the rows below it."""

    def __init__(
        self, engine: Engine, journal: Journal, overlay: Overlay, bodies: Bodies, bounds: JournalBounds,
        path: str,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._state = engine.partition.state
        self._span = engine.span
        self._journal = journal
        self._overlay = overlay
        self._bodies = bodies
        self._bounds = bounds
        self._path = path
        # While the disk is nearly full no history is kept.
        self.scarce = False
        # What was carried by this process, what others had appended when that was last looked at, and what of it may
        # still be carried.
        self._carried_bytes = 0
        self._seen_bytes = 0
        self._credit_bytes = 0
        # What was asked to be carried and is not answered yet.
        self._ahead_items = 0
        self._ahead_bytes = 0
        self._answered = asyncio.Event()
        # The base that may be trimmed to: at first what an earlier process decided, or had begun.
        self._base = 0
        self._base_moved = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled; raises what journal and archive do."""
        self._seen_bytes = self._span.written_bytes
        self._cut(self._state.base)
        while True:
            allowed_bytes = max(self._bounds.log_bytes, _LIVES * living_bytes(self._state))
            base = self._span.second
            if self._span.log_bytes <= allowed_bytes or base is None:
                await self._span.written(max(1, allowed_bytes - self._span.log_bytes))
            else:
                await self._advance(base)

    async def _advance(self, base: int) -> None:
        """Carry all that has its home below `base`, and let the log begin there."""
        for first, last in self._state.homes.below(base):
            await self._carry_range(max(first, self._state.base), last)
        oldest, head = await self._ask(Query(self._state.homes.oldest))
        clear = oldest is None or oldest >= base
        if clear:
            # What ended up to there is archived first: a replay from the base may know nothing of it.
            await self._overlay.archived(head)
            self._engine.restate_level(base)
            clear, _ = await self._ask(c.MoveBase(base, head))
        if clear:
            self._cut(base)
        else:
            await self._span.written(self._span.segment_bytes)

    def _cut(self, base: int) -> None:
        gone = self._span.cut(base)
        if gone:
            log.debug(
                "the log of %s begins at batch %d: %d bytes are history, %d are left for %d bytes that live",
                self._path, base, gone, self._span.log_bytes, living_bytes(self._state),
            )  # fmt: skip
        self._base = base
        self._base_moved.set()

    async def run_trims(self) -> None:
        """Until cancelled, or until the engine has ended while somebody reads; raises what the journal does."""
        while True:
            await self._base_moved.wait()
            self._base_moved.clear()
            base = self._base
            if not await self._nobody_reads_below(base):
                return
            await self._journal.trim(base, self._span.log_bytes + (0 if self.scarce else self._bounds.history_bytes))

    async def _nobody_reads_below(self, base: int) -> bool:
        """Wait until nobody reads arguments where they lay before they were carried, which does not take long."""
        while (needed := self._bodies.oldest_needed()) is not None and needed < base:
            if self._engine.ended:
                return False
            await self._engine.moved()
        return True

    async def make_room(self) -> None:
        """Give up what lies below the base, which no start reads."""
        log.warning("giving up the history of %s, for room", self._path)
        await self._journal.trim(0, self._span.log_bytes)

    # --- carrying ---------------------------------------------------------------------------------------------------

    async def _carry_range(self, first: int, last: int) -> None:
        """Carry what has its home in these batches; bodies come with the batches that hold them."""
        await self._carry_named(first, last)
        async for batch in self._journal.read(first - 1, last):
            if batch.kind is BatchKind.EVENTS:
                await self._carry_batch(batch)

    async def _carry_named(self, first: int, last: int) -> None:
        """Carry the items that are no jobs: where they are is known by their names."""
        part: list[c.CarriedItem] = []
        part_bytes = 0
        for item in self._state.homes.named_in(first, last):
            home = home_of(self._state, item)
            if not first <= home <= last:
                continue
            part.append(c.CarriedItem(item, home))
            part_bytes += item_bytes(self._state, item)
            if len(part) == CARRY_ITEMS_MAX or part_bytes >= CARRY_BYTES_TARGET:
                await self._carry(c.CarryItems([], part), part_bytes)
                part, part_bytes = [], 0
        if part:
            await self._carry(c.CarryItems([], part), part_bytes)

    async def _carry_batch(self, batch: Batch) -> None:
        part: list[c.CarriedJob] = []
        part_bytes = 0
        for event in decode_events(batch.events, self._path):
            if not isinstance(event, e.JobSubmitted | e.JobCarried):
                continue
            job = self._state.jobs.get(event.id)
            if job is None or job.home != batch.position:
                continue
            body = batch.bodies[event.body_offset : event.body_offset + event.body_bytes]
            part.append(c.CarriedJob(event.id, batch.position, body))
            part_bytes += job_bytes(job)
            if len(part) == CARRY_ITEMS_MAX or part_bytes >= CARRY_BYTES_TARGET:
                await self._carry(c.CarryItems(part, []), part_bytes)
                part, part_bytes = [], 0
        if part:
            await self._carry(c.CarryItems(part, []), part_bytes)
        # Batches come many at once from the disk, and each is verified: let others go between.
        await asyncio.sleep(0)

    async def _carry(self, items: c.CarryItems, about_bytes: int) -> None:
        """Have it carried, and wait no longer than until there is room to ask for more."""
        await self._earn(about_bytes + HEADER_BYTES)
        count = len(items.jobs) + len(items.items)
        while self._ahead_items and (
            self._ahead_items + count > CARRY_AHEAD_ITEMS or self._ahead_bytes + about_bytes > CARRY_AHEAD_BYTES
        ):
            self._answered.clear()
            await self._answered.wait()
        self._ahead_items += count
        self._ahead_bytes += about_bytes
        self._engine.post(items, self._was_carried, count, about_bytes)

    def _was_carried(self, count: int, about_bytes: int, carried_bytes: int) -> None:
        # At once, for what was written is counted already: it would be taken for what others wrote.
        self._carried_bytes += carried_bytes + HEADER_BYTES
        self._ahead_items -= count
        self._ahead_bytes -= about_bytes
        self._answered.set()

    async def _earn(self, needed_bytes: int) -> None:
        """Wait until others have appended as much as is to be carried.

        What was earned is kept for a log that outgrew its bound under a heavy load, to be cut when that is over; but no
        more than all that lives takes, or a long quiet time would end in a long burst.
        """
        credit_bytes_max = max(self._span.segment_bytes + self._journal.batch_bytes_max, living_bytes(self._state))
        while True:
            others_bytes = self._span.written_bytes - self._carried_bytes
            earned_bytes = self._credit_bytes + max(0, others_bytes - self._seen_bytes)
            self._credit_bytes = min(credit_bytes_max, earned_bytes)
            self._seen_bytes = others_bytes
            if self._credit_bytes >= needed_bytes:
                self._credit_bytes -= needed_bytes
                return
            await self._span.written(needed_bytes - self._credit_bytes)

    async def _ask(self, command: c.MoveBase | Query) -> tuple[Any, int]:
        """The answer, when it is durable, and the position at which it was given."""
        answer: asyncio.Future[tuple[Any, int]] = asyncio.get_running_loop().create_future()
        self._engine.post(command, self._tell, answer)
        return await answer

    def _tell(self, answer: asyncio.Future[tuple[Any, int]], question: Any, reply: Any) -> None:
        if not answer.done():
            answer.set_result((reply, self._engine.position))
