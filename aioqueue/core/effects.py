"""What the shell owes after an event, once the event is durable."""

from __future__ import annotations

from msgspec import Struct

from aioqueue.model.records import EndedRun, FinishedJob
from aioqueue.model.spec import Spec
from aioqueue.model.states import Cause


class DeliverJob(Struct, gc=False):
    """Send the run to the session's worker; `deadline_ms` is the job's, UTC, 0 for none.

    Core knows no arguments: the shell adds them, which it has at hand.
    """

    session: int
    id: bytes
    spec: Spec
    fence: int
    run: int
    attempt: int
    crashes: int
    extra: bytes | None
    body: bytes = b""
    deadline_ms: int = 0


class StopRun(Struct, gc=False):
    """Tell the session's worker that the run is to be cancelled."""

    session: int
    id: bytes
    fence: int
    cause: Cause = Cause.CANCEL


class ArchiveJob(Struct, gc=False):
    """The job is over: keep its end, tell those who wait.

    The arguments of what did not succeed are kept with it. The shell adds them, from memory or from where they lie in
    the journal: at `place` (see `places`) in the batch `home`.
    """

    finished: FinishedJob
    home: int = 0
    place: int = 0


class ArchiveRun(Struct, gc=False):
    """A run ended and its job goes on (or died of it): keep it for the job's history."""

    run: EndedRun


class ReviveJob(Struct, gc=False):
    """An archived job lives again: it is not a finished one any more."""

    id: bytes
    generation: int


class CloseSession(Struct, gc=False):
    """The session is over: close what connections it has, so that its process begins another."""

    session: int


Effect = DeliverJob | StopRun | ArchiveJob | ArchiveRun | ReviveJob | CloseSession
