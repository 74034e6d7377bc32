"""From what a person writes of a job's id to the whole of it: its beginning, or the 12 digits that `top` shows of it.

The broker is asked for pages of a list, each of which looks at a bounded number of jobs; however many there are, they
hold nobody up, and the search ends after some of them with an error that says so. Called by `running.Named`.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from aioqueue.client.filters import Filter
from aioqueue.client.queue import Queue
from aioqueue.errors import AmbiguousId, JobNotFound
from aioqueue.limits import JOB_ID_BYTES
from aioqueue.model.ids import ID_END_BYTES, id_range, id_text
from aioqueue.monitor.text import plain, short

# A person who writes less meant something else, or would find too many.
PREFIX_DIGITS_MIN: Final = 4
# Each looks at some thousand jobs: so all of a few millions are found, in some seconds.
PAGES_MAX: Final = 2_000
_LISTED: Final = 5
_SHOWN: Final = 64
_DIGITS: Final = 2 * JOB_ID_BYTES


async def whole_id(queue: Queue, written: str) -> str:
    """The id that is meant; what is whole, or no part of an id, as it is.

    Raises `JobNotFound` where no job has such an id, and `AmbiguousId` where several have.
    """
    digits = written.replace("-", "").lower()
    if not PREFIX_DIGITS_MIN <= len(digits) < _DIGITS or not set(digits) <= set("0123456789abcdef"):
        return written
    wanted = [Filter(id_prefix=digits)]
    if len(digits) == 2 * ID_END_BYTES and digits == written.lower():
        wanted.append(Filter(id_suffix=digits))
    found: dict[bytes, None] = {}
    for where in wanted:
        await _find(queue, where, found, written)
    if not found:
        raise JobNotFound(
            f"no job here has an id like {_told(written)}; for one of your own (`id=`) say --queue", job=_told(written)
        )
    if len(found) > 1:
        count = f"{_LISTED} or more" if len(found) >= _LISTED else str(len(found))
        raise AmbiguousId(id=_told(written), count=count, jobs=", ".join(map(id_text, found)))
    return id_text(next(iter(found)))


async def _find(queue: Queue, where: Filter, found: dict[bytes, None], written: str) -> None:
    """Add the ids that are wanted, as many as are listed at most."""
    low, high = id_range(where.id_prefix or "0")
    tail = bytes.fromhex(where.id_suffix)
    looked = 0
    async with aclosing(queue.session().questions.pages(where)) as pages:
        async for page in pages:
            for job in page.jobs:
                # A broker that does not know what is asked for tells of all.
                if job.id.endswith(tail) if tail else low <= job.id <= high:
                    found[job.id] = None
                    if len(found) >= _LISTED:
                        return
            looked += 1
            if looked >= PAGES_MAX and page.next:
                raise JobNotFound(
                    f"there are too many jobs to look through all of them for an id like {_told(written)}; write the "
                    "whole id",
                    job=_told(written),
                )


def _told(written: str) -> str:
    return short(plain(written), _SHOWN)
