"""What failed before anybody said who it is, told without filling the log.

A port that others reach is met by scanners, health checks and browsers, and a release that speaks another version comes
with all its processes at once. So of each kind of failure a few are told in full, and the rest of the same minute is
counted and told in one line. Used by `connections`, which also says when a moment has passed.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

from aioqueue.ground import Ground

log = logging.getLogger(__name__)

PERIOD_MS: Final = 60_000
# Of each kind in a period, before the rest is only counted.
TOLD_IN_FULL: Final = 5
# Addresses that are counted by themselves; a flood from more is one of nobody in particular.
ADDRESSES_MAX: Final = 1_000
_ADDRESSES_TOLD: Final = 3


class Complaints:
    """Failed handshakes of one broker, by kind and by where they came from."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._since_ms = ground.now().mono_ms
        # Kinds are codes of errors, so there are few.
        self._kinds: Counter[str] = Counter()
        self._untold: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()

    def add(self, kind: str, peer: str, sentence: str) -> None:
        """One more of this kind, by the code of its error; `peer` is an address as a URL."""
        self.look()
        self._kinds[kind] += 1
        if self._kinds[kind] <= TOLD_IN_FULL:
            log.warning("%s: %s", peer, sentence)
            return
        self._untold[kind] += 1
        address = peer.rpartition(":")[0] or peer
        if address in self._addresses or len(self._addresses) < ADDRESSES_MAX:
            self._addresses[address] += 1

    def look(self) -> None:
        """To be called now and then: tell what was counted, once its period is over."""
        now_ms = self._ground.now().mono_ms
        if now_ms - self._since_ms < PERIOD_MS:
            return
        if self._untold:
            log.warning(
                "%d more connections failed within %d s before they were welcome: %s; most of them from %s",
                self._untold.total(), (now_ms - self._since_ms) // 1_000, _counts(self._untold),
                _counts(self._addresses, _ADDRESSES_TOLD),
            )  # fmt: skip
        self._since_ms = now_ms
        for counts in (self._kinds, self._untold, self._addresses):
            counts.clear()


def _counts(counter: Counter[str], most: int | None = None) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counter.most_common(most))
