"""What a partition knows: its living jobs, their queues, the sessions that run them.

Only `apply` changes it. The journaled part (jobs, journaled sessions, the counters) is what replay rebuilds, bit for
bit; connections, capacities and monotonic times are not replayed and stand apart in `Session.link`.
"""

from __future__ import annotations

from typing import Any

from msgspec import structs

from aioqueue.core.admission import USUAL_LIMITS, Admission, BacklogLimits
from aioqueue.core.homes import Homes
from aioqueue.core.named import Item
from aioqueue.core.nouns import Bulk, Fit, Job, Offer, Session, SharedSpec
from aioqueue.core.pools import Key, Pool
from aioqueue.core.queues import QueueState
from aioqueue.core.refusals import Refusals
from aioqueue.core.registry import Registry
from aioqueue.core.timers import Entry, Timers
from aioqueue.limits import ITEM_BYTES, QUEUES_IDLE_MAX, SPEC_BYTES_USUAL
from aioqueue.model.records import Terms
from aioqueue.model.spec import unpack_spec
from aioqueue.model.states import JobState

# Interned specs beyond this are forgotten all at once; living jobs keep theirs.
_SPECS_INTERNED_MAX = 10_000
# More tasks than anybody has in one queue; beyond that its workers look at every job.
_FITS_A_QUEUE_MAX = 1_000
_SCHEDULED, _STOPPING = JobState.SCHEDULED, JobState.STOPPING


class State:
    """All of it."""

    def __init__(self, limits: BacklogLimits = USUAL_LIMITS) -> None:
        self.jobs: dict[bytes, Job] = {}
        self.admission = Admission(limits)
        self.queues: dict[Key, QueueState] = {}
        # Those of them with no job and no pool, in the order in which that came to be: the oldest are forgotten.
        self.idle_queues: dict[Key, None] = {}
        self.sessions: dict[int, Session] = {}
        self.session_of: dict[bytes, int] = {}
        # When scheduled jobs are due; and when jobs expire that have not begun, or are not over.
        self.due = Timers(self._is_scheduled)
        self.ends = Timers(self._may_expire)
        # By parent: living children that end with it, and have not been told to; and why those of some must.
        self.children: dict[bytes, dict[bytes, None]] = {}
        self.doomed: dict[bytes, str] = {}
        # By parent: its living children, whether they end with it or not.
        self.families: dict[bytes, dict[bytes, None]] = {}
        self.pools: dict[Offer, Pool] = {}
        # Those of them that take from every queue of their namespace.
        self.every: dict[str, dict[Offer, Pool]] = {}
        # The queues in which a fit has a line of its own.
        self.split: dict[Key, QueueState] = {}
        self.refusals = Refusals()
        self.bulks: dict[bytes, Bulk] = {}
        # Those of them whose jobs are to be freed, or cancelled.
        self.closing: dict[bytes, Bulk] = {}
        # What workers declared of their tasks; and when items that are no jobs lapse.
        self.registry = Registry()
        self.lapses = Timers(self.may_lapse)
        # Ids that ended in the batch that is being made: the shell has not seen them yet.
        self.just_finished: set[bytes] = set()
        # How many suspects are ready, in all queues, and how many run: mostly none, and then nobody looks for one.
        self.suspects_ready = 0
        self.suspects_running = 0
        # The queues in which suspects are ready.
        self.suspicious: dict[Key, QueueState] = {}
        self.next_seq = 1
        self.next_fence = 1
        self.next_session = 1
        self.homes = Homes()
        # The journal's base, and whether it was begun at and its items are not all known yet (see `replay`).
        self.base = 1
        self.partial = False
        self._specs: dict[bytes, SharedSpec] = {}
        # The fits of those, by queue; each is one object.
        self._fits: dict[Key, dict[Fit, Fit]] = {}

    def _is_scheduled(self, entry: Entry) -> bool:
        job = self.jobs.get(entry[2])
        return job is not None and job.state is _SCHEDULED and job.due_ms == entry[0]

    def _may_expire(self, entry: Entry) -> bool:
        job = self.jobs.get(entry[2])
        if job is None or (terms := job.terms) is None or job.state is _STOPPING:
            return False
        return entry[0] == terms.deadline_ms or (entry[0] == terms.expires_ms and not job.runs)

    def may_lapse(self, entry: tuple[int, int, Item]) -> bool:
        """Whether the item is there, and its time is over just then by the journal."""
        task = self.registry.find(entry[2].key)
        return task is not None and task.lapse_ms == entry[0]

    def parent_of(self, terms: Terms, namespace: str) -> Job | None:
        """The living parent of a job of this namespace, if it may still have children."""
        parent = self.jobs.get(terms.parent)
        if parent is None or parent.state is _STOPPING or parent.spec.namespace != namespace:
            return None
        return parent

    def intern(self, packed: bytes) -> SharedSpec:
        """The one spec of these bytes; raises what `unpack_spec` raises."""
        spec = self._specs.get(packed)
        if spec is None:
            if len(self._specs) >= _SPECS_INTERNED_MAX:
                self._specs.clear()
                self._fits.clear()
            plain = unpack_spec(packed)
            key = (plain.namespace, plain.queue)
            fits = self._fits.setdefault(key, {})
            fit = Fit(plain.task, plain.labels)
            spec = SharedSpec(**structs.asdict(plain), packed=packed, key=key, fit=fits.setdefault(fit, fit))
            self._specs[packed] = spec
            if (queue := self.queues.get(key)) is not None and (queue.vague or fit not in queue.fits):
                self._learn(queue, key, fit)
        return spec

    def _learn(self, queue: QueueState, key: Key, fit: Fit) -> None:
        """Jobs of this fit may stand in the queue from here on. Those that somebody invents must not stay for ever."""
        queue.fits[fit] = None
        if len(queue.fits) > _FITS_A_QUEUE_MAX:
            # Those of no job any more go, if that can be told; else it may be any.
            queue.vague = any(queue.counts) or len(self._fits[key]) > _FITS_A_QUEUE_MAX
            queue.fits = {} if queue.vague else dict.fromkeys(self._fits[key])
        for taker in queue.takers:
            taker.learn(queue)

    def busy_queue(self, key: Key) -> QueueState:
        """The queue, which gets a job or a pool; made when it is first named."""
        found = self.queues.get(key)
        if found is None:
            found = self.queues[key] = QueueState()
            fits = self._fits.get(key, {})
            found.vague = len(fits) > _FITS_A_QUEUE_MAX
            found.fits = {} if found.vague else dict.fromkeys(fits)
            for pool in self.every.get(key[0], {}).values():
                pool.serve([(key, found)])
        elif self.idle_queues:
            self.idle_queues.pop(key, None)
        return found

    def rest_queue(self, key: Key) -> None:
        """The queue lost a job or a pool. Names that somebody invents by the million must not stay for ever."""
        queue = self.queues[key]
        if not queue.pools and not any(queue.counts):
            self.idle_queues[key] = None
            if len(self.idle_queues) > QUEUES_IDLE_MAX:
                oldest = next(iter(self.idle_queues))
                for taker in list(self.queues[oldest].takers):
                    taker.leave(oldest)
                self.split.pop(oldest, None)
                del self.idle_queues[oldest], self.queues[oldest]

    def pool(self, offer: Offer) -> Pool:
        """The pool of all sessions that offer just this."""
        found = self.pools.get(offer)
        if found is None:
            found = self.pools[offer] = Pool(offer)
            named = [(key, self.busy_queue(key)) for key in offer.keys]
            for _, queue in named:
                queue.pools += 1
            if offer.every:
                named = [(key, queue) for key, queue in self.queues.items() if key[0] == offer.namespace]
                self.every.setdefault(offer.namespace, {})[offer] = found
            found.serve(named)
        return found

    def forget_pool(self, offer: Offer) -> None:
        """Nobody offers just this any more."""
        self.pools.pop(offer).close()
        if offer.every:
            every = self.every[offer.namespace]
            del every[offer]
            if not every:
                del self.every[offer.namespace]
        for key in offer.keys:
            self.queues[key].pools -= 1
            self.rest_queue(key)

    def journaled_part(self) -> dict[str, Any]:
        """What replay must rebuild exactly (I17), in a form that can be compared and printed."""
        return {
            "jobs": {
                job.id: (
                    job.spec.packed, job.seq, job.state, job.due_ms, job.submitted_ms, job.rare,
                    job.failures, job.crashes, job.runs, job.generation, job.fence, job.session, job.started_ms,
                )
                for job in self.jobs.values()
            },
            "sessions": {
                session.number: (session.secret_hash, session.namespace, session.name, sorted(session.leases))
                for session in self.sessions.values()
                if session.journaled
            },
            "queues": {
                key: (
                    queue.counts,
                    [job.id for job in queue.lane.in_order()],
                    [job.id for job in queue.suspects.in_order()],
                )
                for key, queue in self.queues.items()
                if any(queue.counts)
            },
            "homes": (
                {job.id: (job.home, job.place) for job in self.jobs.values()},
                {session.number: session.home for session in self.sessions.values() if session.journaled},
                {bulk.id: [part.home for part in bulk.parts] for bulk in self.bulks.values()},
                {task.key: task.home for task in self.registry},
            ),
            "ends": sorted(filter(self._may_expire, self.ends)),
            "children": {parent: sorted(children) for parent, children in self.children.items()},
            "families": {parent: sorted(children) for parent, children in self.families.items()},
            "doomed": self.doomed,
            "bulks": {
                bulk.id: (
                    bulk.namespace, bulk.phase, bulk.staged, bulk.total, bulk.freed, bulk.closed_at,
                    [(part.first, part.ids) for part in bulk.parts],
                )
                for bulk in self.bulks.values()
            },
            "closing": sorted(self.closing),
            "tasks": {
                task.key: (task.digest, task.body, task.started_ms, task.used_ms) for task in self.registry
            },
            "next_seq": self.next_seq,
            "next_fence": self.next_fence,
            "size": self.admission.size,
        }  # fmt: skip


def living_bytes(state: State) -> int:
    """About what the records of all items take."""
    return (
        (ITEM_BYTES + SPEC_BYTES_USUAL) * (len(state.jobs) + len(state.sessions))
        + state.admission.size
        + (state.registry.size)
    )
