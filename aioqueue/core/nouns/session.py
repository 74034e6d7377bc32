"""A session: a worker's or client's life at the broker, with its connection and what it offers there."""

from __future__ import annotations

from aioqueue.core.nouns.job import Job
from aioqueue.core.nouns.offer import NO_OFFER
from aioqueue.limits import CRASHES_ALONE


class Link:
    """The part of a session that lives in this process only: its connection, capacity and when it was last heard."""

    __slots__ = (
        "about", "connected", "heard_ms", "number", "offer", "process_slots", "since_fence", "slots", "throttled",
    )  # fmt: skip

    def __init__(self, heard_ms: int) -> None:
        self.connected = False
        self.number = 0
        # Leases below this fence are older than the connection: its worker knows of them only what it resumes.
        self.since_fence = 0
        # What its process says of itself, such as its version; for people.
        self.about = ""
        # How many runs it will hold: those of coroutines and threads, and those of processes.
        self.slots = 0
        self.process_slots = 0
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
