"""Many jobs in one call, however many: a stream of calls in, parts on the wire, one promise at the end.

What fits one frame goes as one (`SubmitAtomic`). What does not is **staged**: the broker takes it in parts, each
durable and none of it promised, and a last word commits them all; until then none of the jobs runs, and if the word
never comes none ever will. Without `atomic` the parts are plain submits, each accepted when it arrives. On both sides
no more than some parts are held at a time, so the calls may come from a file that is larger than memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeVar, overload

from aioqueue.client.job import Job, Results, marked, name_own_id
from aioqueue.client.session import Session
from aioqueue.client.submitting import Acceptance, Parcel, Saying, Submitter, item_bytes
from aioqueue.client.task import Call
from aioqueue.errors import AioqueueError, BulkTooLarge, Duplicate
from aioqueue.limits import (
    ATOMIC_BYTES_MAX,
    ATOMIC_JOBS_MAX,
    BULK_ID_BYTES,
    BULK_PART_JOBS_MAX,
    FRAME_BYTES_MAX,
    FRAME_BYTES_TARGET,
    JOB_ID_BYTES,
    KIB,
)
from aioqueue.model.ids import id_text
from aioqueue.protocol.messages import BulkCommit, BulkDrop, BulkStage, Submit, SubmitAtomic, SubmitItem

R = TypeVar("R")

# Told how many of the jobs the broker has on its disk so far.
Progress = Callable[[int], object]
# An atomic submit is one frame; this is left for what the frame itself needs.
_ATOMIC_FRAME_BYTES: Final = FRAME_BYTES_MAX - 4 * KIB
# Parts that are said and not answered. A part is a batch of the journal, and the broker's next is made ready meanwhile.
_PARTS_UNDER_WAY: Final = 8


class Jobs(Sequence[Job[R]]):
    """The jobs of a streamed `submit_many`, in their order: 16 bytes each, and a `Job` whenever one is looked at."""

    def __init__(self, session: Callable[[], Session]) -> None:
        self._session = session
        self._keys = bytearray()
        # Those that were there before, by their places.
        self._there: set[int] = set()
        # From which index on the jobs are those of which task.
        self._tasks: list[tuple[int, Results]] = []

    def add(self, key: bytes, results: Results) -> None:
        """One more, of the task whose results are read so."""
        if not self._tasks or self._tasks[-1][1] is not results:
            self._tasks.append((len(self), results))
        self._keys += key

    def were_there(self, part: _Part) -> None:
        """The broker knew some jobs of this part before."""
        self._there.update(part.first + index for index in part.there)

    def __len__(self) -> int:
        return len(self._keys) // JOB_ID_BYTES

    @overload
    def __getitem__(self, index: int) -> Job[R]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Job[R]]: ...
    def __getitem__(self, index: int | slice) -> Job[R] | list[Job[R]]:
        if isinstance(index, slice):
            return [self._job(number) for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(f"job {index} of {len(self)}")
        return self._job(number)

    def __iter__(self) -> Iterator[Job[R]]:
        # Whoever awaits them one after the other should not pay a round trip for each.
        for start in range(0, len(self), BULK_PART_JOBS_MAX):
            # A list of its own: it is emptied when the first of the jobs is awaited.
            batch: list[Job[Any]] = []
            jobs = [self._job(number, batch) for number in range(start, min(start + BULK_PART_JOBS_MAX, len(self)))]
            batch += jobs
            yield from jobs

    def _job(self, number: int, batch: list[Job[Any]] | None = None) -> Job[R]:
        low, high = 0, len(self._tasks)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._tasks[middle][0] <= number else (low, middle)
        key = bytes(self._keys[number * JOB_ID_BYTES : (number + 1) * JOB_ID_BYTES])
        job: Job[R] = Job(self._session, key, self._tasks[low][1], None, batch)
        return marked(job, existed=True) if number in self._there else job


class _Part(Acceptance):
    """The receipt of a part with so many jobs, of which the first is the bulk's at place `first`. Each that is answered
    brings its bulk nearer to the end.
    """

    __slots__ = ("_bulk", "first", "jobs", "parcel")

    def __init__(self, bulk: BulkSubmit, jobs: int, first: int) -> None:
        super().__init__(bulk._submitter.loop)
        self._bulk: BulkSubmit = bulk
        self.first: int = first
        self.jobs: int = jobs
        self.parcel: Parcel

    def accepted(self) -> None:
        self._bulk.went_on(self, self.jobs)
        super().accepted()

    def refused(self, error: AioqueueError) -> None:
        self._bulk.went_on(self, 0)
        if isinstance(error, Duplicate):
            # Of thousands it names the one by its id alone.
            for item in self.parcel.items:
                if item.own_id and id_text(item.job) == error.job:
                    name_own_id(error, item.job, item.own_id)
                    break
        super().refused(error)


class Unresolved(Exception):
    """What the task of a call declares is not known yet."""


class BulkSubmit:
    """One `submit_many`. `item` makes a call what is sent; new ids have the time of the last `refresh_ids`.

    `item` raises `Unresolved` for a call by a name that is not looked up yet; `resolve` gives the call that is.
    """

    def __init__(
        self,
        session: Callable[[], Session],
        item: Callable[[Call[Any]], SubmitItem],
        refresh_ids: Callable[[], None],
        random: Callable[[int], bytes],
        atomic: bool,
        progress: Progress | None,
        resolve: Callable[[Call[Any]], Awaitable[Call[Any]]],
    ) -> None:
        now = session()
        self._submitter: Submitter = now.submitter
        self._timeouts = now.timeouts
        self._unanswered = now.unanswered
        self._patience = now.patience
        self._item = item
        self._refresh_ids = refresh_ids
        self._atomic = atomic
        self._progress = progress
        self._resolve = resolve
        self._jobs: Jobs[Any] = Jobs(session)
        self._bulk = random(BULK_ID_BYTES)
        self._parts = 0
        self._items: list[SubmitItem] = []
        # Of what is gathered: all of it as a frame, and its bodies.
        self._bytes = 0
        self._body_bytes = 0
        self._under_way: deque[_Part] = deque()
        # Those of them that are not answered, in their order, and jobs of those that are.
        self._open: dict[_Part, None] = {}
        self._certain = 0
        self._committing = False
        self._done = 0

    async def run(self, calls: AsyncIterable[Call[R]] | Iterable[Call[R]]) -> Jobs[R]:
        """Submit them all; raises what became of the first that could not be."""
        try:
            self._refresh_ids()
            if isinstance(calls, AsyncIterable):
                async for call in calls:
                    try:
                        item = self._item_of(call)
                    except Unresolved:
                        item = self._item_of(call := await self._resolve(call))
                    if self._is_full(item):
                        await self._send_parts()
                    self._gather(call, item)
            else:
                for call in calls:
                    try:
                        item = self._item_of(call)
                    except Unresolved:
                        item = self._item_of(call := await self._resolve(call))
                    if self._is_full(item):
                        await self._send_parts()
                    self._gather(call, item)
            await self._finish()
        except BaseException as error:
            self._give_up(error)
            raise
        return self._jobs

    def _item_of(self, call: Call[Any]) -> SubmitItem:
        try:
            return self._item(call)
        except AioqueueError as error:
            # Of a hundred thousand calls one is wrong, and nothing else says which.
            error.add_note(f"it is call {len(self._jobs):,} of the submit_many, counted from 0")
            raise

    def _is_full(self, item: SubmitItem) -> bool:
        """Whether what is gathered goes before this one. All that one atomic frame can hold is gathered first."""
        size = self._bytes + item_bytes(item)
        if self._atomic and not self._parts:
            bodies = self._body_bytes + len(item.args)
            return len(self._items) >= ATOMIC_JOBS_MAX or bodies > ATOMIC_BYTES_MAX or size > _ATOMIC_FRAME_BYTES
        return len(self._items) >= BULK_PART_JOBS_MAX or (size > FRAME_BYTES_TARGET and len(self._items) > 0)

    def _gather(self, call: Call[Any], item: SubmitItem) -> None:
        self._jobs.add(item.job, call.task.signature)
        self._items.append(item)
        self._bytes += item_bytes(item)
        self._body_bytes += len(item.args)

    async def _send_parts(self) -> None:
        """What is gathered, as parts of a good size."""
        self._refresh_ids()
        items, self._items = self._items, []
        first = len(self._jobs) - len(items)
        self._bytes = self._body_bytes = 0
        start = size = 0
        for index, item in enumerate(items):
            more = item_bytes(item)
            if index > start and (index - start >= BULK_PART_JOBS_MAX or size + more > FRAME_BYTES_TARGET):
                await self._send_part(items[start:index], size, first + start)
                start, size = index, 0
            size += more
        await self._send_part(items[start:], size, first + start)

    async def _send_part(self, items: list[SubmitItem], size: int, first: int) -> None:
        while len(self._under_way) >= _PARTS_UNDER_WAY:
            await self._answered()
        if self._atomic:
            for item in items:
                if item.own_id:
                    raise BulkTooLarge(
                        f"a job of the id {item.own_id[:64]!r} is in a submit_many of over {ATOMIC_JOBS_MAX} jobs or "
                        f"{ATOMIC_BYTES_MAX} bytes, where jobs cannot have ids of their own; use atomic=False",
                        jobs=len(self._jobs), size=size, jobs_max=ATOMIC_JOBS_MAX, size_max=ATOMIC_BYTES_MAX,
                    )  # fmt: skip
            part = self._add_part(items, size, partial(_stage, self._bulk, self._parts))
        else:
            part = self._add_part(items, size, Submit, first)
        self._parts += 1
        self._under_way.append(part)
        # The calls may come without ever waiting; others want to run too.
        await asyncio.sleep(0)

    def _add_part(self, items: list[SubmitItem], size: int, saying: Saying, first: int = 0) -> _Part:
        part = _Part(self, len(items), first)
        if not self._open:
            self._timeouts.begin(self, self._patience.seconds)
        self._open[part] = None
        part.parcel = self._submitter.add_part(items, size, part, saying, self._patience)
        return part

    async def _answered(self) -> None:
        part = self._under_way[0]
        await part.future
        self._jobs.were_there(part)
        self._under_way.popleft()
        self._tell(part.jobs)

    def _tell(self, jobs: int) -> None:
        self._done += jobs
        if self._progress is not None:
            self._progress(self._done)

    async def _finish(self) -> None:
        """The rest, and the word that makes it so."""
        if not self._items:
            return
        if self._atomic and not self._parts:
            whole = self._add_part(self._items, self._bytes, SubmitAtomic)
            await whole.future
            self._jobs.were_there(whole)
            self._tell(whole.jobs)
            return
        await self._send_parts()
        while self._under_way:
            await self._answered()
        if self._atomic:
            self._committing = True
            word = self._add_part([], KIB, partial(_commit, self._bulk, self._parts, self._jobs[0].key))
            await word.future

    # --- waiting for the broker ---

    def went_on(self, part: _Part, jobs: int) -> None:
        """A part was answered, and so many more jobs are on the broker's disk: from now on the rest waits anew."""
        self._open.pop(part, None)
        self._certain += jobs
        self._timeouts.end(self, self._patience.seconds)
        if self._open:
            self._timeouts.begin(self, self._patience.seconds)

    def give_up(self) -> None:
        """No part was answered for as long as the caller's patience lasts."""
        parts, self._open = list(self._open), {}
        sent = any(part.parcel.sent_at is not None for part in parts)
        for part in parts:
            self._submitter.withdraw(part.parcel)
        # Whatever comes first of them is waited for.
        Acceptance.refused(parts[0], self._error(sent))
        for part in parts[1:]:
            part.future.cancel()

    def _error(self, sent: bool) -> AioqueueError:
        seconds, jobs, first = self._patience.seconds, len(self._jobs), self._jobs[0].key
        if not self._atomic:
            return self._unanswered.of_many(self._certain, first, seconds, sent=sent)
        if sent and self._committing:
            return self._unanswered.unknown_bulk(self._bulk.hex(), jobs, first, seconds)
        if sent and not self._parts:
            return self._unanswered.unknown(first, seconds, jobs)
        return self._unanswered.not_sent("the submit_many", seconds)

    def _give_up(self, error: BaseException) -> None:
        """What is on its way is not waited for; what was staged goes."""
        self._timeouts.end(self, self._patience.seconds)
        for part in self._under_way:
            if not part.future.cancel() and not part.future.cancelled():
                # It failed as well, perhaps; one error is enough.
                part.future.exception()
        if self._atomic and self._parts:
            self._submitter.say(BulkDrop(self._bulk))
        elif isinstance(error, AioqueueError) and not self._atomic:
            error.add_note(
                f"{self._certain:,} of the jobs before were submitted, and perhaps more that were on their way"
            )


def _stage(bulk: bytes, part: int, request: int, items: list[SubmitItem]) -> BulkStage:
    return BulkStage(request, bulk, part, items)


def _commit(bulk: bytes, parts: int, first: bytes, request: int, items: list[SubmitItem]) -> BulkCommit:
    return BulkCommit(request, bulk, parts, first)
