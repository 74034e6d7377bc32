"""What a partition knows: its living jobs, their queues, the sessions that run them.

Only `apply` changes it. The journaled part (jobs, journaled sessions, the counters) is what replay rebuilds, bit for
bit; connections, capacities and monotonic times are not replayed and stand apart in `Session.link`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from msgspec import Struct, structs

from aioqueue.core.admission import USUAL_LIMITS, Admission, BacklogLimits
from aioqueue.core.homes import Homes
from aioqueue.core.lanes import Lane, PriorityLane
from aioqueue.core.places import LENGTH_MASK, length_in
from aioqueue.core.suspects import CRASHES_ALONE, Suspects
from aioqueue.core.timers import Entry, Timers
from aioqueue.limits import JOB_ID_BYTES, QUEUES_IDLE_MAX
from aioqueue.model.records import Terms
from aioqueue.model.spec import Spec, unpack_spec
from aioqueue.model.states import BulkPhase, Cause, JobState

# Interned specs beyond this are forgotten all at once; living jobs keep theirs.
_SPECS_INTERNED_MAX = 10_000
_SCHEDULED, _STOPPING = JobState.SCHEDULED, JobState.STOPPING


class SharedSpec(Spec, frozen=True, array_like=True, gc=False):
    """A `Spec` as all its jobs share it: with its packed bytes, and its queue's key in `State.queues`."""

    packed: bytes = b""
    key: tuple[str, str] = ("", "")


class Rare(Struct, frozen=True, gc=False):
    """What few jobs have. `extra` is opaque; `cause` and `note` say why one was told to stop."""

    extra: bytes | None = None
    terms: Terms | None = None
    cause: Cause | None = None
    note: str = ""


def rare_of(
    extra: bytes | None = None, terms: Terms | None = None, cause: Cause | None = None, note: str = ""
) -> Rare | None:
    """These, where there is any of them."""
    return Rare(extra, terms, cause, note) if extra is not None or terms is not None or cause is not None else None


class Job(Struct, gc=False):
    """One living job. A million of these are held, so it is small, and the collector never walks it.

    `due_ms` is 0 unless scheduled. `fence` is that of the last lease, and 0 where the lease was voided (given back,
    crashed), so that a late settle cannot match. `home` is the position of the batch that holds the job's record: its
    submit, or where it was carried to. `place` says where in it the arguments lie (see `places`); core never has the
    arguments themselves. What few jobs have stands apart in `rare`.
    """

    id: bytes
    spec: SharedSpec
    seq: int
    state: JobState
    due_ms: int
    submitted_ms: int
    place: int
    rare: Rare | None = None
    failures: int = 0
    crashes: int = 0
    runs: int = 0
    generation: int = 0
    fence: int = 0
    session: int = 0
    started_ms: int = 0
    home: int = 0

    @property
    def body_bytes(self) -> int:
        """How long its arguments are."""
        return length_in(self.place)

    @property
    def extra(self) -> bytes | None:
        """The packed remainder of the submit."""
        return None if self.rare is None else self.rare.extra

    @property
    def terms(self) -> Terms | None:
        """What bounds the job."""
        return None if self.rare is None else self.rare.terms


def admitted_bytes(job: Job) -> int:
    """What the job counts for in `Admission.size`: its arguments, and its headers."""
    # Twice a job: `length_in` by hand.
    size = job.place & LENGTH_MASK
    return size if job.rare is None else size + len(job.rare.extra or b"")


class Link:
    """The part of a session that lives in this process only: its connection, capacity and when it was last heard."""

    __slots__ = ("connected", "heard_ms", "number", "queues", "since_fence", "slots", "throttled")

    def __init__(self, heard_ms: int) -> None:
        self.connected = False
        self.number = 0
        # Leases below this fence are older than the connection: its worker knows of them only what it resumes.
        self.since_fence = 0
        self.slots = 0
        # Its connection holds as much as it may of what was not sent yet.
        self.throttled = False
        self.queues: tuple[str, ...] = ()
        self.heard_ms = heard_ms


class Session:
    """One worker's or client's life at the broker. `journaled` from its first lease on; `home` is then the position of
    the batch that tells of it, and 0 where a replay from a base has not come to that yet.
    """

    __slots__ = ("home", "journaled", "leases", "link", "name", "namespace", "number", "secret_hash", "suspects")

    def __init__(self, number: int, secret_hash: bytes, namespace: str, name: str, heard_ms: int) -> None:
        self.number = number
        self.secret_hash = secret_hash
        self.namespace = namespace
        self.name = name
        self.journaled = False
        self.home = 0
        self.leases: dict[bytes, Job] = {}
        # Those of its leases under which a process ended before: one, or a parent and its descendants.
        self.suspects: tuple[Job, ...] = ()
        self.link = Link(heard_ms)

    @property
    def free(self) -> int:
        """Capacity minus leases: there is no counter that could drift."""
        return self.link.slots - len(self.leases)

    @property
    def alone(self) -> bool:
        """Whether it holds a suspect that nothing else may run beside, save its family."""
        return any(job.crashes >= CRASHES_ALONE for job in self.suspects)

    @property
    def hungry(self) -> bool:
        """Whether it may get a job whose turn it is."""
        return self.link.slots > len(self.leases) and not self.link.throttled and not self.alone


class Part(Struct, gc=False):
    """Jobs of a bulk that were staged together: their ids, 16 bytes each, and the place of the first in the bulk.
    `home` is the position of the batch that tells of it.
    """

    first: int
    ids: bytes
    home: int

    @property
    def end(self) -> int:
        """The place behind the last."""
        return self.first + len(self.ids) // JOB_ID_BYTES


class Bulk:
    """Jobs that are accepted together, in more parts than a batch can hold. Of the `total` that were staged in `staged`
    parts the first `freed` wait for it no more; `parts` are those with jobs that do, in their order.
    """

    __slots__ = ("closed_at", "freed", "heard_ms", "id", "namespace", "parts", "phase", "staged", "total")

    def __init__(self, bulk_id: bytes, namespace: str) -> None:
        self.id = bulk_id
        self.namespace = namespace
        self.phase = BulkPhase.OPEN
        self.staged = 0
        self.total = 0
        self.freed = 0
        # The batch that committed or dropped it: in that order bulks are worked off.
        self.closed_at = 0
        self.parts: list[Part] = []
        # Of this process only, like a session's.
        self.heard_ms = 0

    def waiting(self) -> Iterator[bytes]:
        """The ids of the jobs that were not freed, in their order; some of them may be over."""
        for part in self.parts:
            begin = max(0, self.freed - part.first) * JOB_ID_BYTES
            for start in range(begin, len(part.ids), JOB_ID_BYTES):
                yield part.ids[start : start + JOB_ID_BYTES]

    def place_of(self, first: int) -> int:
        """The index among `parts` of the one that begins with this job, or would."""
        return bisect_left(self.parts, first, key=_first_of)

    def part_at(self, first: int) -> Part | None:
        """The part that begins with this job, while any of its jobs waits."""
        index = self.place_of(first)
        return self.parts[index] if index < len(self.parts) and self.parts[index].first == first else None


def _first_of(part: Part) -> int:
    return part.first


class QueueState:
    """One queue: its ready jobs (the lane, and suspects apart), how many jobs are in each state, and totals since this
    process started (statistics). `pools` is how many take from it.
    """

    __slots__ = ("counts", "dead", "failed", "lane", "pools", "submitted", "succeeded", "suspects")

    def __init__(self) -> None:
        self.lane: Lane = PriorityLane()
        self.suspects = Suspects()
        self.pools = 0
        self.counts = [0] * (max(JobState) + 1)
        self.submitted = 0
        self.succeeded = 0
        self.failed = 0
        self.dead = 0


class Pool:
    """Sessions that take from the same queues; those with free capacity are `hungry`, in the order of their turn."""

    __slots__ = ("hungry", "members", "queues")

    def __init__(self, queues: list[QueueState]) -> None:
        self.queues = queues
        self.hungry: dict[int, Session] = {}
        self.members: set[int] = set()


class State:
    """All of it."""

    def __init__(self, limits: BacklogLimits = USUAL_LIMITS) -> None:
        self.jobs: dict[bytes, Job] = {}
        self.admission = Admission(limits)
        self.queues: dict[tuple[str, str], QueueState] = {}
        # Those of them with no job and no pool, in the order in which that came to be: the oldest are forgotten.
        self.idle_queues: dict[tuple[str, str], None] = {}
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
        self.pools: dict[tuple[str, tuple[str, ...]], Pool] = {}
        self.bulks: dict[bytes, Bulk] = {}
        # Those of them whose jobs are to be freed, or cancelled.
        self.closing: dict[bytes, Bulk] = {}
        # Ids that ended in the batch that is being made: the shell has not seen them yet.
        self.just_finished: set[bytes] = set()
        # How many suspects are ready, in all queues, and how many run: mostly none, and then nobody looks for one.
        self.suspects_ready = 0
        self.suspects_running = 0
        self.next_seq = 1
        self.next_fence = 1
        self.next_session = 1
        self.homes = Homes()
        # The journal's base, and whether it was begun at and its items are not all known yet (see `replay`).
        self.base = 1
        self.partial = False
        self._specs: dict[bytes, SharedSpec] = {}

    def _is_scheduled(self, entry: Entry) -> bool:
        job = self.jobs.get(entry[2])
        return job is not None and job.state is _SCHEDULED and job.due_ms == entry[0]

    def _may_expire(self, entry: Entry) -> bool:
        job = self.jobs.get(entry[2])
        if job is None or (terms := job.terms) is None or job.state is _STOPPING:
            return False
        return entry[0] == terms.deadline_ms or (entry[0] == terms.expires_ms and not job.runs)

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
            plain = unpack_spec(packed)
            key = (plain.namespace, plain.queue)
            spec = self._specs[packed] = SharedSpec(**structs.asdict(plain), packed=packed, key=key)
        return spec

    def busy_queue(self, key: tuple[str, str]) -> QueueState:
        """The queue, which gets a job or a pool; made when it is first named."""
        found = self.queues.get(key)
        if found is None:
            found = self.queues[key] = QueueState()
        elif self.idle_queues:
            self.idle_queues.pop(key, None)
        return found

    def rest_queue(self, key: tuple[str, str]) -> None:
        """The queue lost a job or a pool. Names that somebody invents by the million must not stay for ever."""
        queue = self.queues[key]
        if not queue.pools and not any(queue.counts):
            self.idle_queues[key] = None
            if len(self.idle_queues) > QUEUES_IDLE_MAX:
                oldest = next(iter(self.idle_queues))
                del self.idle_queues[oldest], self.queues[oldest]

    def pool(self, namespace: str, queues: tuple[str, ...]) -> Pool:
        """The pool of all sessions with just these queues."""
        key = (namespace, queues)
        found = self.pools.get(key)
        if found is None:
            found = self.pools[key] = Pool([self.busy_queue((namespace, name)) for name in queues])
            for queue in found.queues:
                queue.pools += 1
        return found

    def forget_pool(self, key: tuple[str, tuple[str, ...]]) -> None:
        """Nobody takes from just these queues any more."""
        for queue in self.pools.pop(key).queues:
            queue.pools -= 1
        for name in key[1]:
            self.rest_queue((key[0], name))

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
            "next_seq": self.next_seq,
            "next_fence": self.next_fence,
            "size": self.admission.size,
        }  # fmt: skip
