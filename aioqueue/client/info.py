"""What a caller is told of one job: the broker's own view, with the id as text and times that can be read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, cast, get_args

import msgspec

from aioqueue.model import views
from aioqueue.model.bodies import unpack_body
from aioqueue.model.ids import id_text
from aioqueue.model.states import State
from aioqueue.model.views import Attempt, Block, Failure

_STATES: Final = frozenset(get_args(State))


class JobInfo(msgspec.Struct, frozen=True):
    """All that the broker knows of one job, at the moment it was asked.

    Times ending in `_ms` are milliseconds UTC, 0 for not yet or never; those ending in `_at` are the same as
    `datetime`, or None.

    Example::

        info = await job.info()
        print(info.state, info.submitted_at, info.runs, info.failure and info.failure.text)

    `failures` counts attempts that failed, `crashes` the processes that died under the job, `runs` how often it was
    started at all; `generation` rises with each `retry()`, from `first_generation` on, which is above 0 where your own
    id had other jobs before; `failure` is the last one. `blocked` is there while the
    event loop of its worker stands still: in which job (this one or another), where, and for how long. `parent` is the
    id of the job that submitted it, and `note` says why it was cancelled or expired. `deaf_at` are the
    workers on which a run of it heeded no cancellation and still goes on, whatever its state.

    `args` and `kwargs` are its arguments as plain values (numbers, text, lists, dicts, `datetime`), and `args_bytes` is
    how long they are. They are None where they are not kept, as after a success, are too long, were packed in a way
    that this program does not know, or were not asked for, as in a list. `unserved` says why a job that is ready is
    given to nobody: no worker is connected that takes its queue, knows its task or has its labels. It is empty where
    one is, and in a list.
    """

    id: str
    task: str
    queue: str
    namespace: str
    state: State
    priority: int
    submitted_ms: int
    due_ms: int
    started_ms: int
    finished_ms: int
    failures: int
    crashes: int
    runs: int
    generation: int
    worker: str
    own_id: str | None
    headers: dict[str, str]
    failure: Failure | None
    attempts: tuple[Attempt, ...]
    blocked: Block | None = None
    expires_ms: int = 0
    deadline_ms: int = 0
    parent: str | None = None
    note: str = ""
    deaf_at: tuple[str, ...] = ()
    first_generation: int = 0
    args: tuple[Any, ...] | None = None
    kwargs: dict[str, Any] | None = None
    args_bytes: int = 0
    unserved: str = ""

    @property
    def expires_at(self) -> datetime | None:
        return _instant(self.expires_ms)

    @property
    def deadline_at(self) -> datetime | None:
        return _instant(self.deadline_ms)

    @property
    def submitted_at(self) -> datetime:
        return datetime.fromtimestamp(self.submitted_ms / 1000, UTC)

    @property
    def due_at(self) -> datetime | None:
        return _instant(self.due_ms)

    @property
    def started_at(self) -> datetime | None:
        return _instant(self.started_ms)

    @property
    def finished_at(self) -> datetime | None:
        return _instant(self.finished_ms)


def _instant(ms: int) -> datetime | None:
    return datetime.fromtimestamp(ms / 1000, UTC) if ms else None


def _arguments(body: bytes) -> tuple[tuple[Any, ...] | None, dict[str, Any] | None]:
    if not body:
        return None, None
    try:
        args, kwargs = unpack_body(body)
        return tuple(args), dict(kwargs)
    except (ValueError, TypeError):
        # Of another codec, or packed by a client of another language that has its own ways.
        return None, None


def friendly(info: views.JobInfo) -> JobInfo:
    """The broker's view of a job, for people and programs."""
    given = {name: getattr(info, name) for name in views.JobInfo.__struct_fields__}
    given.update(
        id=id_text(info.id), own_id=info.own_id or None, attempts=tuple(info.attempts), deaf_at=tuple(info.deaf_at)
    )
    given["parent"] = id_text(info.parent) if info.parent else None
    # A newer broker may have others.
    given["state"] = cast(State, info.state if info.state in _STATES else "unknown")
    given["args"], given["kwargs"] = _arguments(info.args)
    return JobInfo(**given)
