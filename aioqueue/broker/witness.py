"""What clients saw of this journal, judged by where each of its epochs ends (I18).

A client says in Hello the highest position that it was told to be durable, and the epoch in which it was told. A broker
that lost the end of its journal leads a new epoch from there, and may stand at a higher position soon: so the claim is
compared with the end of the epoch that it names, and only one of the epoch that goes on with the journal's end.

* A claim of an epoch before: `HistoryLost` if its position lies behind the end of that epoch.
* A claim of this epoch: `HistoryLost` if its position lies behind the last that is durable.
* A claim of an epoch that this journal never had: `Deposed`, whatever its position. Somebody went on from here, with
  this journal or a copy of it, and clients were told of it. One broker with one file meets this only where an older
  copy was put back; it cannot know that, refuses whoever saw more, and serves the others.
* A claim without an epoch is that of an older client, judged by its position alone.

Of epochs that ended below the log's first batch nothing is known but that: what is claimed of them below it is
believed. An epoch that was lost as a whole, mark included, gives its number to the next one, and is not told from it.

Pure. A `Follower` shows it every batch of the log; `peers.life` asks it at each Hello.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple

from aioqueue.errors import Deposed, HistoryLost


class Claim(NamedTuple):
    """What a client was told last; `epoch` is 0 where it keeps none."""

    journal_id: bytes
    epoch: int
    position: int


class Witness:
    """Where the epochs of one journal begin. Two numbers for each start of a broker that the log still knows of."""

    __slots__ = ("_begins", "_epochs", "_latest", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        # The first epoch of each leader; to state a higher format level, a leader goes on in a further one.
        self._epochs: list[int] = []
        self._latest = 0
        # The first batch of each that the log has.
        self._begins: list[int] = []

    def saw(self, epoch: int, position: int, *, goes_on: bool = False) -> None:
        """A batch of the log; they come in their order. `goes_on`: it is a leader's own record of a further epoch."""
        if goes_on and len(self._epochs) == 1:
            # The log may begin within such an epoch, and then the one before did not end below it.
            self._epochs[0] = 0
        if epoch > self._latest and not goes_on:
            self._epochs.append(epoch)
            self._begins.append(position)
        self._latest = max(self._latest, epoch)

    def check(self, claim: Claim, journal_id: bytes, epoch: int, position: int) -> None:
        """Judge a claim. The broker has this journal, leads this epoch, and its last durable position is this one.

        Raises `HistoryLost` or `Deposed`.
        """
        if claim.journal_id != journal_id:
            return
        if claim.epoch > epoch:
            raise Deposed(path=self._path, seen=claim.epoch, epoch=epoch)
        end = self._end_of(claim.epoch, position) if 0 < claim.epoch < epoch else position
        if claim.position > end:
            raise HistoryLost(path=self._path, reason=_reason(claim, epoch, end))

    def _end_of(self, epoch: int, position: int) -> int:
        """The last position that a batch of this epoch can have; `position` is that of all."""
        later = bisect_right(self._epochs, epoch)
        return self._begins[later] - 1 if later < len(self._begins) else position


def _reason(claim: Claim, epoch: int, end: int) -> str:
    if 0 < claim.epoch < epoch:
        return f"a client saw position {claim.position} of epoch {claim.epoch}, which ended at {end}"
    return f"a client saw position {claim.position}, the end is {end}"
