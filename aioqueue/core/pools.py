"""Pools: the sessions that offer the same, and where they find the job whose turn it is.

While a pool takes every job that is ready in its queues, nothing is looked at but the heads of their lines. Only where
it does not (other tasks, other labels, tasks that this connection could not call) is it picky: then it looks whether it
takes what stands first, and what it does not take is moved out of its way (see `lanes.split`).

A worker that runs tasks in processes has slots of two classes, and what it takes depends on which of them are free. So
its pool has three takers: for sessions that have room for both, for one and for the other class. Called by `State`,
`apply` and `leasing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from aioqueue.core.lanes import Heads, Lane, PriorityLane, Source, SplitLane
from aioqueue.core.nouns import Fit, Job, Offer, Session, SlotClass
from aioqueue.core.queues import QueueState

Key = tuple[str, str]
_SHARED, _PROCESS = SlotClass.SHARED, SlotClass.PROCESS
# What a taker remembers of which fits it takes.
_FITS_MEMO_MAX: Final = 10_000
# Lines of which is read ahead at a time: those that come next.
_AHEAD_LINES: Final = 64


def _nothing() -> Job | None:
    return None


class Taker:
    """Sessions of a pool that have room for runs of the same classes (None where there is but one); those with a free
    slot are `hungry`, in the order in which they came to be.

    `head` gives the job whose turn it is, out of the lane `only` where it looks at no other; where the taker is
    `picky`, that may be one that it does not take. A taker that is `careful` deals out one job at a time.
    """

    __slots__ = ("_memo", "careful", "classes", "head", "heads", "hungry", "offer", "only", "picky", "queues")

    def __init__(self, offer: Offer, classes: tuple[SlotClass, ...] | None) -> None:
        self.offer = offer
        self.classes = classes
        self.hungry: dict[int, Session] = {}
        self.queues: dict[Key, QueueState] = {}
        # Those of the queues in which jobs may stand that it does not take, by identity.
        self.picky: dict[int, QueueState] = {}
        self.careful = classes is not None
        self.only: Lane | None = None
        self.heads: Heads | None = None
        self.head: Callable[[], Job | None] = _nothing
        self._memo: dict[Fit, bool] = {}

    def takes(self, fit: Fit) -> bool:
        """Whether its sessions may have jobs of this fit."""
        known = self._memo.get(fit)
        if known is None:
            if len(self._memo) >= _FITS_MEMO_MAX:
                self._memo.clear()
            offer, classes = self.offer, self.classes
            known = offer.takes(fit) and (classes is None or offer.class_of(fit) in classes)
            self._memo[fit] = known
        return known

    # --- which queues ---

    def serve(self, queues: Iterable[tuple[Key, QueueState]]) -> None:
        """From here on it takes from these too."""
        new = dict(queues)
        for key, queue in new.items():
            self.queues[key] = queue
            queue.takers.append(self)
            self._judge(queue)
        if self.heads is None:
            self.aim()
        else:
            for queue in new.values():
                for source in self._sources(queue):
                    self.heads.add(source)

    def leave(self, key: Key) -> None:
        """It takes from this queue no more."""
        queue = self.queues.pop(key)
        queue.takers.remove(self)
        self.picky.pop(id(queue), None)
        self.careful = self.classes is not None or bool(self.picky)
        if self.heads is not None and len(self.queues) > 1:
            for source in self._sources(queue):
                self.heads.drop(source)
        else:
            self.aim()

    def close(self) -> None:
        """It takes nothing any more."""
        if self.heads is not None:
            self.heads.close()
        for queue in self.queues.values():
            queue.takers.remove(self)

    def is_picky(self, queue: QueueState) -> bool:
        """Whether jobs may stand in this queue that it does not take."""
        return id(queue) in self.picky

    def learn(self, queue: QueueState) -> None:
        """Jobs of other fits may stand in the queue than before."""
        was = self.careful
        self._judge(queue)
        if self.careful is not was or self.heads is None:
            self.aim_again()

    def _judge(self, queue: QueueState) -> None:
        if queue.vague or not all(map(self.takes, queue.fits)):
            self.picky[id(queue)] = queue
        else:
            self.picky.pop(id(queue), None)
        self.careful = self.classes is not None or bool(self.picky)

    # --- where it looks ---

    def aim(self) -> None:
        """Look where the next job is: at the one line, where that is all; else at the heads of all lines."""
        if self.heads is not None:
            self.heads.close()
            self.heads = None
        self.head, self.only = _nothing, None
        queues = list(self.queues.values())
        if len(queues) == 1 and not self.picky and not queues[0].is_split:
            self.only = queues[0].lane
            self.head = self.only.head
        elif queues:
            self.heads = Heads([source for queue in queues for source in self._sources(queue)])
            self.head = self.heads.first

    def aim_again(self) -> None:
        """A queue was split or joined: whoever takes from it alone looks elsewhere now."""
        if len(self.queues) == 1:
            self.aim()

    def line_began(self, lane: Source, fit: Fit) -> None:
        """A fit got a line of its own."""
        if self.heads is None:
            self.aim()
        elif self.takes(fit):
            self.heads.add(lane)

    def _sources(self, queue: QueueState) -> list[Source]:
        lane = queue.lane
        if isinstance(lane, SplitLane):
            return [lane.main, *(own for fit, own in lane.own.items() if self.takes(fit))]
        assert isinstance(lane, PriorityLane)
        return [lane]

    def ready(self, hungry: list[Session]) -> int:
        """How many jobs are ready for these, or more than all of them can take."""
        only = self.only
        return only.depth if only is not None else self.depth(len(hungry) * max(each.free for each in hungry))

    def depth(self, enough: int) -> int:
        """How many jobs are ready for it, or more than enough."""
        if self.only is not None:
            return self.only.depth
        return 0 if self.heads is None else self.heads.depth(enough)

    def upcoming(self, jobs_max: int) -> list[Iterator[Job]]:
        """The lines that it takes from next, the first jobs of each."""
        if self.heads is not None:
            sources = self.heads.listed(_AHEAD_LINES)
        else:
            sources = [source for queue in self.queues.values() for source in self._sources(queue)]
        lines = [source.upcoming(jobs_max) for source in sources]
        if not self.careful:
            return lines
        return [(job for job in line if self.takes(job.spec.fit)) for line in lines]


class Pool:
    """Sessions that offer the same."""

    __slots__ = ("members", "offer", "takers")

    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.members: set[int] = set()
        kinds = ((_SHARED, _PROCESS), (_SHARED,), (_PROCESS,)) if offer.mixed else (None,)
        self.takers = tuple(Taker(offer, classes) for classes in kinds)

    def serve(self, queues: list[tuple[Key, QueueState]]) -> None:
        """From here on its sessions take from these too."""
        for taker in self.takers:
            taker.serve(queues)

    def close(self) -> None:
        """It has no session any more."""
        for taker in self.takers:
            taker.close()

    @property
    def apart(self) -> tuple[Taker, ...]:
        """The takers of one class each."""
        return self.takers if len(self.takers) == 1 else self.takers[1:]

    def taker_of(self, session: Session) -> Taker:
        """Where the session is hungry, if it is."""
        if len(self.takers) == 1:
            return self.takers[0]
        return next(taker for taker in self.takers if taker.classes == session.rooms)

    def feed(self, session: Session) -> None:
        """List a session that has a free slot as hungry, or where its free slots say."""
        takers = self.takers
        if len(takers) == 1:
            takers[0].hungry[session.number] = session
            return
        rooms = session.rooms if session.hungry else ()
        for taker in takers:
            if taker.classes == rooms:
                taker.hungry.setdefault(session.number, session)
            else:
                taker.hungry.pop(session.number, None)

    def leased(self, session: Session, job: Job) -> None:
        """The session got a job, and may be full now; of two classes, one of them."""
        if len(self.takers) == 1:
            self.rest(session)
            return
        if self.offer.class_of(job.spec.fit):
            session.in_processes[job.id] = job
        self.feed(session)

    def rest(self, session: Session) -> None:
        """The session is not hungry any more."""
        for taker in self.takers:
            taker.hungry.pop(session.number, None)
