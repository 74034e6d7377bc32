"""The beginning and the end of a session that holds leases. Both are journaled; see `link` for the rest."""

from __future__ import annotations

from msgspec import Struct

from aioqueue.model.states import SessionEnd


class SessionOpened(Struct, array_like=True, tag=20, gc=False, forbid_unknown_fields=True):
    """A session is about to hold its first lease. The secret itself is never journaled."""

    number: int
    secret_hash: bytes
    namespace: str
    name: str


class SessionEnded(Struct, array_like=True, tag=21, gc=False, forbid_unknown_fields=True):
    """The session holds nothing any more; the ends of its leases stand before this."""

    number: int
    cause: SessionEnd
