"""A living job, its spec as all its jobs share it, and what only few jobs have."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct

from aioqueue.core.places import LENGTH_MASK, length_in
from aioqueue.model.records import Terms
from aioqueue.model.spec import Spec
from aioqueue.model.states import Cause, JobState


class Fit(NamedTuple):
    """What decides who may take a job: its task, and the labels that its worker must have. Whether the task runs as a
    coroutine, in a thread or in a process is for its worker to say (see `TaskOffer`), so it is no part of this.
    """

    task: str
    labels: tuple[str, ...]


class SharedSpec(Spec, frozen=True, array_like=True, gc=False):
    """A `Spec` as all its jobs share it: with its packed bytes, its queue's key in `State.queues`, and its fit, which
    is one object for all specs that have the same.
    """

    packed: bytes = b""
    key: tuple[str, str] = ("", "")
    fit: Fit = Fit("", ())


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


def copy_job(job: Job) -> Job:
    """The job as it is now, for an answer that leaves later."""
    return Job(*(getattr(job, name) for name in Job.__struct_fields__))
