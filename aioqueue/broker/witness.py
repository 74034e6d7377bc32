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
believed. Where leaders may have gone on in further epochs, to state a higher level, and the log begins within one, that
holds for all epochs of its leader. An epoch that was lost as a whole, mark included, gives its number to the next one,
and is not told from it.

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

    __slots__ = ("_begins", "_epochs", "_path", "_within")

    def __init__(self, path: str) -> None:
        self._path = path
        # The first epoch of each leader; to state a higher format level, a leader goes on in a further one.
        self._epochs: list[int] = []
        # The first batch of each that the log has; and whether the log begins within the first of them.
        self._begins: list[int] = []
        self._within = False

    def saw(self, epoch: int, position: int, *, begins: bool) -> None:
        """A batch of the log; they come in their order. `begins` is a record by which another leader took over."""
        if begins or not self._epochs:
            if not self._epochs:
                self._within = not begins
            self._epochs.append(epoch)
            self._begins.append(position)

    def may_renew(self) -> None:
        """The log states a level that its leaders did not begin with: one may have gone on in further epochs."""
        if self._within:
            # It may have begun in any of them, below the log: of whoever saw those nothing is known.
            self._epochs[0] = 0

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
