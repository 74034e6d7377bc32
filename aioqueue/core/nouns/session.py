"""A session: a worker's or client's life at the broker, with its connection and what it offers there."""

from __future__ import annotations

from typing import Protocol

from aioqueue.core.nouns.job import Fit, Job
from aioqueue.core.nouns.offer import NO_OFFER, SlotClass
from aioqueue.limits import CRASHES_ALONE


class Pooled(Protocol):
    """The pool of a session, as its session knows it."""

    def feed(self, session: Session) -> None:
        """It has a free slot (again)."""

    def rest(self, session: Session) -> None:
        """It may get nothing now."""

    def leased(self, session: Session, job: Job) -> None:
        """It got a job, and may be full now."""


class Link:
    """The part of a session that lives in this process only: its connection, capacity and when it was last heard."""

    __slots__ = (
        "about", "connected", "full_at", "heard_ms", "hungry_below", "more_slots", "number", "offer", "pool",
        "process_slots", "since_fence", "slots", "throttled",
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
        # Those of processes where it declared tasks that run in them.
        self.more_slots = 0
        # Where it is listed while it has slots. It is looked at there when it gets its `full_at`th run, and listed as
        # hungry again when it holds less than `hungry_below`: the same number, save where its slots are of two classes.
        self.pool: Pooled | None = None
        self.full_at = 0
        self.hungry_below = 0
        # Its connection holds as much as it may of what was not sent yet.
        self.throttled = False
        self.offer = NO_OFFER
        self.heard_ms = heard_ms

    @property
    def queues(self) -> tuple[str, ...]:
        """The names of the queues that it offers to run jobs of."""
        return self.offer.queues


def by_wait(session: Session) -> tuple[int, int]:
    """Among sessions that may have a job: the one with the fewest leases comes first, and of those the one that has
    waited longest since it got one.
    """
    return len(session.leases), session.last_fence


class Session:
    """One worker's or client's life at the broker. `journaled` from its first lease on; `home` is then the position of
    the batch that tells of it, and 0 where a replay from a base has not come to that yet.
    """

    __slots__ = (
        "home", "in_processes", "journaled", "last_fence", "leases", "link", "name", "namespace", "number",
        "secret_hash", "suspects",
    )  # fmt: skip

    def __init__(self, number: int, secret_hash: bytes, namespace: str, name: str, heard_ms: int) -> None:
        self.number = number
        self.secret_hash = secret_hash
        self.namespace = namespace
        self.name = name
        self.journaled = False
        self.home = 0
        self.leases: dict[bytes, Job] = {}
        # That of the last lease it got in this process: who has the lower one has waited longer.
        self.last_fence = 0
        # Those of its leases that take slots of processes, and some that are over.
        self.in_processes: dict[bytes, Job] = {}
        # Those of its leases under which a process ended before: one, or a parent and its descendants.
        self.suspects: tuple[Job, ...] = ()
        self.link = Link(heard_ms)

    @property
    def free(self) -> int:
        """Capacity minus leases: there is no counter that could drift."""
        link = self.link
        return link.slots + link.more_slots - len(self.leases)

    @property
    def processes_held(self) -> int:
        """How many of its leases take the slots of processes; few, so they are looked through."""
        held = self.in_processes
        if held:
            for job_id in [job_id for job_id in held if job_id not in self.leases]:
                del held[job_id]
        return len(held)

    @property
    def rooms(self) -> tuple[SlotClass, ...]:
        """The classes of which it has a free slot; of two, as its worker declared tasks that run in processes."""
        link, held = self.link, self.processes_held
        shared = link.slots > len(self.leases) - held
        if link.process_slots > held:
            return (SlotClass.SHARED, SlotClass.PROCESS) if shared else (SlotClass.PROCESS,)
        return (SlotClass.SHARED,) if shared else ()

    def has_slot(self) -> bool:
        """Whether a slot of any class is free."""
        link = self.link
        return bool(self.rooms) if link.offer.mixed else link.slots > len(self.leases)

    def has_room(self, fit: Fit) -> bool:
        """Whether a slot is free that a run of this fit takes."""
        link = self.link
        return link.offer.class_of(fit) in self.rooms if link.offer.mixed else link.slots > len(self.leases)

    def would_run(self, fit: Fit) -> bool:
        """Whether it has any slot that a run of this fit takes, free or not."""
        link = self.link
        return (link.process_slots if link.offer.class_of(fit) else link.slots) > 0

    @property
    def alone(self) -> bool:
        """Whether it holds a suspect that nothing else may run beside, save its family."""
        return any(job.crashes >= CRASHES_ALONE for job in self.suspects)

    @property
    def hungry(self) -> bool:
        """Whether it may get a job whose turn it is, of any class."""
        return self.has_slot() and not self.link.throttled and not self.alone
