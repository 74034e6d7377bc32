"""A session: a worker's or client's life at the broker, with its connection and what it offers there."""

from __future__ import annotations

from typing import Final, NamedTuple

from aioqueue.core.nouns.job import Job
from aioqueue.limits import CRASHES_ALONE


class Offer(NamedTuple):
    """What a session offers to run, however many slots it has: jobs of these queues of its namespace. Sessions that
    offer the same share a `Pool`.
    """

    namespace: str
    queues: tuple[str, ...]

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Its queues, as they are kept in `State.queues`."""
        return [(self.namespace, name) for name in self.queues]

    def covers(self, job: Job) -> bool:
        """Whether the job is one of those."""
        spec = job.spec
        return spec.namespace == self.namespace and spec.queue in self.queues


# Of a session that has said nothing yet.
NO_OFFER: Final = Offer("", ())


class Link:
    """The part of a session that lives in this process only: its connection, capacity and when it was last heard."""

    __slots__ = ("connected", "heard_ms", "number", "offer", "since_fence", "slots", "throttled")

    def __init__(self, heard_ms: int) -> None:
        self.connected = False
        self.number = 0
        # Leases below this fence are older than the connection: its worker knows of them only what it resumes.
        self.since_fence = 0
        self.slots = 0
        # Its connection holds as much as it may of what was not sent yet.
        self.throttled = False
        self.offer = NO_OFFER
        self.heard_ms = heard_ms

    @property
    def queues(self) -> tuple[str, ...]:
        """The names of the queues that it offers to run jobs of."""
        return self.offer.queues


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
