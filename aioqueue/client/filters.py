"""Which jobs a list is about, as callers say it, checked before anything is asked."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from aioqueue.errors import BadOption
from aioqueue.limits import ERROR_CHARACTERS_MAX
from aioqueue.model.durations import Duration, past_ms
from aioqueue.model.ids import id_range
from aioqueue.model.names import check_name, check_text
from aioqueue.model.states import JobState

# A point of time: a `datetime` with a time zone, ISO 8601 text, or how long ago.
Moment = datetime | Duration


class Filter(NamedTuple):
    """Jobs of these states, queue, task, time, id and error; whatever is empty or 0 means any.

    The times are milliseconds UTC, of the submit of a living job and of the end of a finished one; `until_ms` is not
    included. `id_prefix` are hexadecimal digits, and so are `id_suffix`, the last 12 of an id; a broker that is too old
    for these tells of others too.
    """

    states: tuple[int, ...] = ()
    queue: str = ""
    task: str = ""
    since_ms: int = 0
    until_ms: int = 0
    id_prefix: str = ""
    error: str = ""
    id_suffix: str = ""

    @property
    def beyond_names(self) -> bool:
        """Whether it asks for what the first brokers did not know."""
        return bool(self.since_ms or self.until_ms or self.id_prefix or self.error or self.id_suffix)


def make_filter(
    now_ms: int,
    *,
    state: str | Iterable[str] | None = None,
    queue: str | None = None,
    task: str | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    id: str | None = None,
    error: str | None = None,
) -> Filter:
    """The filter of these words, at `now_ms` UTC. Raises `BadOption` or `BadName`, naming the option."""
    for what, name in (("queue", queue), ("task", task)):
        if name:
            check_name(what, name)
    if id:
        id_range(id)
    if error:
        check_text("error", error)
        if len(error) > ERROR_CHARACTERS_MAX:
            raise BadOption(option="error", value=error, reason=f"it must be at most {ERROR_CHARACTERS_MAX} characters")
    return Filter(
        _states(state),
        queue or "",
        task or "",
        0 if since is None else max(0, past_ms(since, now_ms, option="since")),
        0 if until is None else max(1, past_ms(until, now_ms, option="until")),
        (id or "").replace("-", "").lower(),
        error or "",
    )


def _states(state: str | Iterable[str] | None) -> tuple[int, ...]:
    if state is None:
        return ()
    # A state that no job can have in this version would find nothing, and look as if there were nothing.
    labels = {found.label: int(found) for found in JobState if found is not JobState.SUSPENDED}
    wanted = [state] if isinstance(state, str) else list(state)
    for label in wanted:
        if label not in labels:
            raise BadOption(option="state", value=label, reason=f"it must be one of {', '.join(labels)}")
    return tuple(labels[label] for label in dict.fromkeys(wanted))
