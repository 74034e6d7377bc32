"""How long a call waits for its broker: one number a call, and one timer for all calls that wait.

A call that began at `now` waits until `now + seconds`, and while the broker is away no longer than until
`away_since + seconds`. So in the first part of an outage calls wait, and a restart of the broker goes unseen; from then
on each fails at once, until the broker is back. Waiting for the end of a job is no call.

What is still unanswered then is the affair of whoever asked: a `Call` that is given up withdraws what it has not sent,
and is told what became of the rest. Used by `Submitter`, `Questions` and `BulkSubmit`.
"""

from __future__ import annotations

import asyncio
import math
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from aioqueue.errors import BadOption
from aioqueue.limits import CALL_SECONDS, RESEND_SECONDS
from aioqueue.model.durations import Duration, to_ms

# A timer of an event loop may be early by as much.
_EARLY_SECONDS: Final = 0.001
# While a program stood still its timers came due, and they run before what lies in the socket is read. So many turns of
# the event loop later it was read, as in `broker.hearing`.
_TURNS: Final = 8


class Patience(NamedTuple):
    """`seconds` is how long a call waits for its answer; for so long after it was first sent it is said again."""

    seconds: float = CALL_SECONDS
    resend_seconds: float = RESEND_SECONDS


USUAL: Final = Patience()
# That of a job that submits a child: it outlives every outage, as its own end does. The broker never frees the id of a
# child, so that it may be said again however late.
UNENDING: Final = Patience(math.inf, math.inf)


def patience_of(timeout: Duration | None) -> Patience:
    """The patience that a caller asks for by `timeout=`; None waits as long as it takes. Raises `BadOption`."""
    if timeout is None:
        return Patience(math.inf)
    ms = to_ms(timeout, option="timeout")
    if ms == 0:
        raise BadOption(option="timeout", value=timeout, reason="no broker answers in no time; None waits for ever")
    return Patience(ms / 1000)


class Health(NamedTuple):
    """How a queue stands with its broker. `connected`, or not, `since` then; `trouble` is why not, empty if it is.

    `waiting` counts what calls have not sent yet, `unanswered` what was sent and not answered.
    """

    connected: bool
    since: datetime
    trouble: str
    waiting: int
    unanswered: int


class Call(Protocol):
    """Something that waits for the broker."""

    def give_up(self) -> None:
        """It has waited as long as it may."""
        ...


class Timeouts:
    """All calls of one session that wait, and since when its broker has been away.

    Calls of one patience end in the order in which they began, so only the first of each is looked at. `heard` may be
    called often; a timer is set when the first call of all has to end earlier than was known.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        # By seconds of patience: when each call began, oldest first.
        self._lines: dict[float, dict[Call, float]] = {}
        self._alarm: asyncio.Handle | None = None
        self._alarm_at = math.inf
        # None while a connection stands.
        self._away_since: float | None = self._loop.time()

    @property
    def away_seconds(self) -> float:
        """How long the broker has been away; 0 while it is there."""
        return 0.0 if self._away_since is None else self._loop.time() - self._away_since

    def begin(self, call: Call, seconds: float) -> None:
        """The call waits from now on, so long at most."""
        if seconds == math.inf:
            return
        line = self._lines.get(seconds)
        if line is None:
            line = self._lines[seconds] = {}
        since = line[call] = self._loop.time()
        until = (since if self._away_since is None else self._away_since) + seconds
        if until < self._alarm_at:
            self._set_alarm(until)

    def end(self, call: Call, seconds: float) -> None:
        """The call waits no more; nothing happens if it did not."""
        line = self._lines.get(seconds)
        if line is not None:
            line.pop(call, None)
            if not line:
                del self._lines[seconds]

    def went_on(self, call: Call, seconds: float) -> None:
        """The call has come nearer to its end, and waits anew."""
        self.end(call, seconds)
        self.begin(call, seconds)

    # --- what the session calls ---

    def lost(self) -> None:
        """The broker is away from now on."""
        self._away_since = self._loop.time()

    def back(self) -> None:
        """The broker is there."""
        self._away_since = None

    def close(self) -> None:
        """Nothing waits any more."""
        self._lines.clear()
        if self._alarm is not None:
            self._alarm.cancel()

    # --- inside ---

    def _set_alarm(self, until: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = until
        self._alarm = self._loop.call_at(until, self._ring)

    def _ring(self) -> None:
        self._after_turns(_TURNS, self._loop.time() + _EARLY_SECONDS)

    def _after_turns(self, turns: int, now: float) -> None:
        if turns:
            self._alarm = self._loop.call_soon(self._after_turns, turns - 1, now)
            return
        self._alarm, self._alarm_at = None, math.inf
        first = math.inf
        for seconds in list(self._lines):
            first = min(first, self._give_up(seconds, now))
        if first < self._alarm_at:
            self._set_alarm(first)

    def _give_up(self, seconds: float, now: float) -> float:
        """End the calls of this patience that have waited long enough; when the next one has to end."""
        away_since = math.inf if self._away_since is None else self._away_since
        while line := self._lines.get(seconds):
            call, since = next(iter(line.items()))
            until = min(since, away_since) + seconds
            if until > now:
                return until
            self.end(call, seconds)
            call.give_up()
        return math.inf
