"""How ready jobs stand in this process only, never journaled: which of them have a line of their own."""

from __future__ import annotations

from msgspec import Struct


class JobParted(Struct, gc=False):
    """Not journaled: the job stood at the front of its queue, in the way of a session that does not take it; it stands
    in a line of its fit now, at the same place among all others.
    """

    id: bytes


class LaneJoined(Struct, gc=False):
    """Not journaled: no fit has a line of its own in the queue any more, and everybody takes everything there."""

    namespace: str
    queue: str
