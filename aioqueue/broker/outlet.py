"""What leaves when it is durable: runs to their workers, ends to those who wait, in frames of a good size.

The engine hands over the effects of each batch, in order; nothing comes out of a broker any other way but answers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from aioqueue.broker.ends import LaterEnds
from aioqueue.broker.seats import Seats, Sitter
from aioqueue.broker.statistics import Statistician
from aioqueue.broker.translate.runs import deliver_item, ended_item
from aioqueue.broker.waiters import Waiter, Waiters
from aioqueue.core.effects import ArchiveJob, ArchiveRun, CloseSession, DeliverJob, Effect, StopRun
from aioqueue.ground import Ground
from aioqueue.limits import FRAME_BYTES_TARGET, ITEMS_A_FRAME_MAX
from aioqueue.protocol import messages as m

_T = TypeVar("_T")


class Listener(Waiter, Sitter, Protocol):
    """A connection as far as it is told things."""

    later: LaterEnds

    def send(self, message: m.BrokerMessage, *, lazily: bool = False) -> None: ...
    def tell_later(self, jobs: Iterable[bytes]) -> None: ...
    def throttle(self) -> None: ...


L = TypeVar("L", bound=Listener)


class Outlet(Generic[L]):
    """Effects to messages, and messages to the connections they are for."""

    def __init__(
        self, seats: Seats[L], waiters: Waiters[L], statistician: Statistician, ground: Ground
    ) -> None:  # fmt: skip
        self._seats = seats
        self._waiters = waiters
        self._statistician = statistician
        self._now = ground.now

    def carry_out(self, effects: Sequence[Effect], position: int) -> None:
        """Effects of a durable batch, whose position is `position`."""
        runs: defaultdict[int, list[m.DeliverItem]] = defaultdict(list)
        ends: defaultdict[L, list[m.EndedItem]] = defaultdict(list)
        stops: list[StopRun] = []
        over: list[int] = []
        failed = False
        for effect in effects:
            if isinstance(effect, DeliverJob):
                runs[effect.session].append(deliver_item(effect, self._now().wall_ms if effect.deadline_ms else 0))
            elif isinstance(effect, ArchiveJob):
                waiting = self._waiters.pop(effect.finished.id)
                if waiting:
                    item = ended_item(effect.finished)
                    for peer in waiting:
                        ends[peer].append(item)
            elif isinstance(effect, ArchiveRun):
                failed = True
            elif isinstance(effect, StopRun):
                stops.append(effect)
            elif isinstance(effect, CloseSession):
                over.append(effect.session)
        at_data = self._seats.at_data
        for session, items in runs.items():
            worker = at_data.get(session)
            # A run for a worker that is gone comes back when it resumes without it, or when its session ends.
            if worker is not None:
                for part in _frames(items, [len(item.args) + len(item.headers) for item in items]):
                    worker.send(m.Deliver(part))
                worker.throttle()
        for stop in stops:
            # A worker that is gone is told when it resumes.
            if (worker := at_data.get(stop.session)) is not None:
                worker.send(m.CancelRun(stop.id, stop.fence, stop.cause))
        for peer, ended in ends.items():
            self.send_ends(peer, ended, position)
        for session in over:
            self._seats.close_session(session)
        if failed:
            self._statistician.take(effects)

    def send_ends(self, peer: L, ended: Sequence[m.EndedItem], position: int) -> None:
        """Tell a client of ends it waited for, durable at `position`, in frames of a good size."""
        for part in _frames(ended, [len(item.body) for item in ended]):
            if peer.later.full:
                peer.tell_later(item.job for item in part)
            else:
                peer.send(m.Ended(part, position))


def _frames(items: Sequence[_T], sizes: Sequence[int]) -> list[list[_T]]:
    """The items, of these sizes, in lists that each make a frame of about the target size."""
    if len(items) <= ITEMS_A_FRAME_MAX and sum(sizes) <= FRAME_BYTES_TARGET:
        return [list(items)]
    frames: list[list[_T]] = [[]]
    room = FRAME_BYTES_TARGET
    for item, size in zip(items, sizes, strict=True):
        if frames[-1] and (room < size or len(frames[-1]) >= ITEMS_A_FRAME_MAX):
            frames.append([])
            room = FRAME_BYTES_TARGET
        room -= size
        frames[-1].append(item)
    return frames
