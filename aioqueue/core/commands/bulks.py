"""What is asked of a bulk: stage its parts, commit it, drop it."""

from __future__ import annotations

from msgspec import Struct

from aioqueue.core.commands.jobs import NewJob


class StageBulk(Struct, gc=False):
    """The next part of a bulk: jobs that wait until all of it is there. Answered by how many parts there are.

    Parts come in their order; one that came before is answered and changes nothing. Refused with `BulkUnknown` where
    the parts before it are not there (any more). The jobs' ids are generated ones. A first part that was `resent` may
    be that of a bulk that is over: it is if its first job is known.
    """

    bulk: bytes
    namespace: str
    part: int
    items: list[NewJob]
    resent: bool = False
    known: bool = False
    looked: bool = False


class CommitBulk(Struct, gc=False):
    """All `parts` of the bulk are there: its jobs are accepted, all of them. Answered by None.

    `first` is the id of its first job: a bulk that is known no more was committed before if that job is known.
    """

    bulk: bytes
    namespace: str
    parts: int
    first: bytes
    known: bool = False
    looked: bool = False


class DropBulk(Struct, gc=False):
    """The bulk will not be committed. One that is not known, or was committed, stays as it is."""

    bulk: bytes
    namespace: str
