"""What happens to a bulk, and with it to many jobs at once. All of it is journaled."""

from __future__ import annotations

from msgspec import Struct


class BulkStaged(Struct, array_like=True, tag=32, gc=False, forbid_unknown_fields=True):
    """The jobs `ids` (16 bytes each), submitted just before as BLOCKED, are this part of the bulk; the first is 0.

    `first` is how many jobs the parts before it have; -1 is for as many as are known.
    """

    bulk: bytes
    namespace: str
    part: int
    ids: bytes
    first: int = -1


class BulkCommitted(Struct, array_like=True, tag=33, gc=False, forbid_unknown_fields=True):
    """All parts of the bulk are there and it is promised: from here its jobs become free, in their order."""

    bulk: bytes


class BulkFreed(Struct, array_like=True, tag=36, gc=False, forbid_unknown_fields=True):
    """The next `taken` jobs of the bulk wait for it no more; the bulk is over with its last one.

    Of a committed bulk `ready` (which take places from `seq` on) and `scheduled`, by their ids, 16 bytes each; of one
    that will never be committed `cancelled`. Those that ended by themselves meanwhile are in none of the three.
    """

    bulk: bytes
    taken: int
    seq: int
    ready: bytes = b""
    scheduled: bytes = b""
    cancelled: bytes = b""
