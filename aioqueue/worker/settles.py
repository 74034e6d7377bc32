"""The ends of runs on their way to the broker: gathered for one tick, kept until they are answered.

All runs that end in one tick of the event loop leave in one `Settle`. What was sent is kept until the broker answers
it, and after a lost connection it is said again in `Resume`; the fence makes saying it twice harmless. Large results
wait here until earlier ones are answered: on the way are no more than a connection should hold.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from aioqueue.limits import FRAME_BYTES_TARGET, IN_FLIGHT_BYTES_MAX, ITEMS_A_FRAME_MAX
from aioqueue.model.aftermath import aftermath
from aioqueue.model.ids import id_text
from aioqueue.model.states import JobState
from aioqueue.model.views import Failure
from aioqueue.protocol.messages import (
    ClientMessage,
    DeliverItem,
    Following,
    Refusal,
    RunEnd,
    Settle,
    SettleAnswer,
    Settled,
    SettleItem,
)
from aioqueue.worker.endings import without_misfit
from aioqueue.worker.failures import failure_body

_log = logging.getLogger(__name__)
# Id, fence, end and the array around them.
_ITEM_BYTES: Final = 40
_STATES: Final = frozenset(JobState)


class Outlet(Protocol):
    """What the box needs of a `Link`."""

    @property
    def connected(self) -> bool: ...

    def next_request(self) -> int: ...

    def send_nowait(self, *messages: ClientMessage) -> None: ...


class SettleBox:
    """Holds every settle that the broker has not answered."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._fresh: list[SettleItem] = []
        self._sent: dict[int, list[SettleItem]] = {}
        # The bytes of what was sent.
        self._sent_bytes = 0
        self._flush_is_due = False
        # Tasks of the jobs whose run failed, until it is known what follows.
        self._failed: dict[bytes, str] = {}
        self._empty: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._fresh) + sum(map(len, self._sent.values()))

    def put(self, item: SettleItem) -> None:
        """Send the item with all others of this tick; without a connection, in the next `Resume`."""
        self._fresh.append(item)
        if not self._flush_is_due:
            self._flush_is_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def expect(self, item: DeliverItem) -> None:
        """This run has failed: say what follows when the broker tells it."""
        self._failed[item.job] = item.task

    def _flush(self) -> None:
        self._flush_is_due = False
        if self._outlet.connected and self._fresh and self._sent_bytes < IN_FLIGHT_BYTES_MAX:
            items, self._fresh = self._fresh, []
            sent = 0
            for part in in_frames(items):
                self._send(part)
                sent += len(part)
                if self._sent_bytes >= IN_FLIGHT_BYTES_MAX:
                    self._fresh = items[sent:]
                    break

    def _send(self, items: list[SettleItem]) -> None:
        request = self._outlet.next_request()
        self._note(request, items)
        self._outlet.send_nowait(Settle(request, items, bool(self._failed)))

    def _note(self, request: int, items: list[SettleItem]) -> None:
        self._sent[request] = items
        self._sent_bytes += _size_of(items)

    def _forget(self, request: int) -> list[SettleItem]:
        """What this request told; it is answered, and others may go."""
        items = self._sent.pop(request, [])
        self._sent_bytes -= _size_of(items)
        if self._fresh and not self._flush_is_due:
            self._flush()
        return items

    def without_misfits(self) -> None:
        """Before `resume`, over a connection to a broker that knows no misfits: they become failures."""
        self._sent = {request: [without_misfit(item) for item in items] for request, items in self._sent.items()}
        self._fresh = [without_misfit(item) for item in self._fresh]

    def resume(self) -> tuple[list[SettleItem], list[SettleItem]]:
        """After a reconnect: `(first, rest)`, where `first` goes into `Resume` and `rest`, named as held, after it.

        Both are forgotten here: `resumed` and `send_rest` take them up again.
        """
        items = [item for part in self._sent.values() for item in part] + self._fresh
        self._sent.clear()
        self._sent_bytes = 0
        self._fresh = []
        first = next(iter(in_frames(items)), [])
        return first, items[len(first) :]

    def resumed(self, request: int, first: list[SettleItem]) -> None:
        """`first` left with the `Resume` of this number."""
        self._note(request, first)

    def send_rest(self, rest: list[SettleItem]) -> None:
        """Send what found no place in the `Resume`, after it."""
        self._fresh = rest + self._fresh
        self._flush()

    def answered(self, message: Settled) -> None:
        """The broker recorded these, or told that they were not ours to tell any more."""
        self._answered(message.request, message.answers, message.following)

    def answered_in_resume(self, request: int, answers: list[SettleAnswer]) -> None:
        self._answered(request, answers)

    def refused(self, refusal: Refusal) -> None:
        """A settle the broker will not take: results become failures, so that their jobs do not stay running."""
        for item in self._forget(refusal.request):
            self._failed.pop(item.job, None)
            _log.error("the broker refused the end of job %s: %s", id_text(item.job), refusal.message)
            if item.end is RunEnd.SUCCEEDED:
                failure = Failure(refusal.code, f"the broker refused the result: {refusal.message}", retry=False)
                self.put(SettleItem(item.job, item.fence, RunEnd.FAILED, failure_body(failure), False))
        self._tell_if_empty()

    async def wait_empty(self) -> None:
        """Wait until everything has been answered, over as many connections as it takes."""
        while self._fresh or self._sent:
            self._empty = asyncio.get_running_loop().create_future()
            await self._empty

    def _answered(self, request: int, answers: list[SettleAnswer], following: Sequence[Following] = ()) -> None:
        items = self._forget(request)
        if self._failed:
            self._tell(items, answers, following)
        if items and (answers or _log.isEnabledFor(logging.DEBUG)):
            _log_answers(items, answers)
        self._tell_if_empty()

    def _tell(self, items: list[SettleItem], answers: list[SettleAnswer], following: Sequence[Following]) -> None:
        """Say what follows the failures among these; an older broker does not tell."""
        told = {each.job: each for each in following}
        for index, item in enumerate(items):
            task = self._failed.pop(item.job, None)
            job = told.get(item.job)
            stale = index < len(answers) and answers[index] is SettleAnswer.STALE
            if task is None or job is None or stale or job.state not in _STATES:
                continue
            state = JobState(job.state)
            text = aftermath(state, job.failures, job.attempts, job.in_ms, retry=item.retry)
            level = logging.WARNING if state is JobState.DEAD else logging.INFO
            _log.log(level, "job %s of task %s: %s", id_text(item.job), task, text)

    def _tell_if_empty(self) -> None:
        if self._empty is not None and not self._empty.done() and not self._fresh and not self._sent:
            self._empty.set_result(None)


def _log_answers(items: list[SettleItem], answers: list[SettleAnswer]) -> None:
    """What became of each end; no answers at all say that every one was recorded now."""
    if not answers and not _log.isEnabledFor(logging.DEBUG):
        # The usual case, 1 us a job.
        return
    for item, answer in zip(items, answers or [SettleAnswer.OK] * len(items), strict=False):
        if answer is SettleAnswer.STALE:
            _log.info("job %s had passed to another worker; its end here was not counted", id_text(item.job))
        else:
            _log.debug(
                "job %s with fence %d: the broker recorded the end %s (%s)",
                id_text(item.job), item.fence, item.end.name, answer.name,
            )  # fmt: skip


def in_frames(items: list[SettleItem]) -> Iterable[list[SettleItem]]:
    """The items in parts that each fit well into one frame."""
    # Results are small as a rule, and then there is nothing to add up: 0.1 us an item saved.
    if len(items) <= ITEMS_A_FRAME_MAX and _size_of(items) <= FRAME_BYTES_TARGET:
        if items:
            yield items
        return
    part: list[SettleItem] = []
    size = 0
    for item in items:
        size += _ITEM_BYTES + len(item.body)
        if part and (size > FRAME_BYTES_TARGET or len(part) == ITEMS_A_FRAME_MAX):
            yield part
            part, size = [], _ITEM_BYTES + len(item.body)
        part.append(item)
    yield part


def _size_of(items: list[SettleItem]) -> int:
    return len(items) * _ITEM_BYTES + sum([len(item.body) for item in items])
