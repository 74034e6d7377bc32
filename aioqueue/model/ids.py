"""Job ids: 16 bytes that lead to the job's partition and sort by the time they were made.

A generated id is a UUIDv7 (RFC 9562): 48 bits of milliseconds, then 12 `rand_a` bits that hold the **route** of its
queue, then 62 random bits. A caller's own id becomes a UUIDv8 with the same route bits and a SHA-256 of its names. On
the wire and on disk an id is its 16 bytes; it is printed as a UUID.
"""

from __future__ import annotations

import uuid
import zlib
from functools import lru_cache
from hashlib import sha256
from typing import Final

import msgspec

from aioqueue.errors import BadOption, JobNotFound
from aioqueue.limits import JOB_ID_BYTES, OWN_ID_CHARACTERS_MAX

ROUTE_BITS: Final = 12
# What a screen has room for; random in every id.
ID_END_BYTES: Final = 6
# What a partition's number is computed from; told in WELCOME, so that a later hash can be told apart.
HASH_VERSION: Final = 1

# The lowest and the highest.
EVERY_ID: Final = (bytes(JOB_ID_BYTES), b"\xff" * JOB_ID_BYTES)

# Of a UUID as it is printed.
_TEXT_CHARACTERS: Final = 36

_VARIANT: Final = 0b10 << 62
_RANDOM_MASK: Final = (1 << 62) - 1
_DIGITS: Final = frozenset("0123456789abcdef")
_own_id_encoder = msgspec.msgpack.Encoder()


@lru_cache(maxsize=10_000)
def route_of(namespace: str, queue: str) -> int:
    """The 12 bits by which every job of a queue is found: `crc32(b"namespace/queue") & 0xFFF`."""
    return zlib.crc32(f"{namespace}/{queue}".encode()) & 0xFFF


def route_in(job_id: bytes) -> int:
    """The route bits of an id, generated or a caller's own."""
    return int.from_bytes(job_id[6:8], "big") & 0xFFF


def ids_in(joined: bytes) -> list[bytes]:
    """The ids that stand one behind the other."""
    return [joined[start : start + JOB_ID_BYTES] for start in range(0, len(joined), JOB_ID_BYTES)]


def partition_of(job_id: bytes, partitions: int) -> int:
    """Which of `partitions` partitions owns the job."""
    return route_in(job_id) * partitions >> ROUTE_BITS


def generated_id(namespace: str, queue: str, wall_ms: int, random: bytes) -> bytes:
    """A UUIDv7 of the queue's route; `random` gives 8 bytes, of which 62 bits are used."""
    high = (wall_ms & 0xFFFF_FFFF_FFFF) << 16 | 0x7000 | route_of(namespace, queue)
    low = _VARIANT | int.from_bytes(random, "big") & _RANDOM_MASK
    return (high << 64 | low).to_bytes(JOB_ID_BYTES, "big")


def own_id(namespace: str, queue: str, text: str) -> bytes:
    """The id of a caller's own name for a job: the same job whenever the three are the same.

    Raises `BadOption` for an empty or overlong text, and for one that cannot be written as UTF-8.
    """
    if not isinstance(text, str) or not 1 <= len(text) <= OWN_ID_CHARACTERS_MAX:
        raise BadOption(option="id", value=text, reason=f"it must be 1 to {OWN_ID_CHARACTERS_MAX} characters")
    try:
        digest = sha256(_own_id_encoder.encode([1, namespace, queue, text])).digest()
    except UnicodeEncodeError as error:
        raise BadOption(
            option="id", value=ascii(text), reason=f"it cannot be written as UTF-8: {error.reason}"
        ) from None
    return _hashed(namespace, queue, digest)


def child_id(namespace: str, queue: str, parent: bytes, call: tuple[str, bytes, int]) -> bytes:
    """The id of a job that another submits: `call` is its task, its packed arguments, and which of such calls it is.

    So a job that runs again finds the children that it submitted before, in whatever order it submits them now.
    """
    digest = sha256(_own_id_encoder.encode([2, namespace, queue, parent, *call])).digest()
    return _hashed(namespace, queue, digest)


def is_own_id(job_id: bytes) -> bool:
    """Whether the id is a hash (UUIDv8): of a caller's own name, or of a child's call."""
    return job_id[6] >> 4 == 8


def _hashed(namespace: str, queue: str, digest: bytes) -> bytes:
    high = int.from_bytes(digest[:6], "big") << 16 | 0x8000 | route_of(namespace, queue)
    low = _VARIANT | int.from_bytes(digest[6:14], "big") & _RANDOM_MASK
    return (high << 64 | low).to_bytes(JOB_ID_BYTES, "big")


def id_text(job_id: bytes) -> str:
    """The id as a person reads it."""
    return str(uuid.UUID(bytes=job_id))


def id_range(prefix: str) -> tuple[bytes, bytes]:
    """The lowest and the highest id whose text begins so, dashes left out; `BadOption` for what no id begins with."""
    digits = _digits_of(prefix)
    if not digits:
        raise BadOption(option="id", value=prefix, reason="it must be the beginning of a job's id, such as 01a200bc")
    return bytes.fromhex(digits.ljust(2 * JOB_ID_BYTES, "0")), bytes.fromhex(digits.ljust(2 * JOB_ID_BYTES, "f"))


def id_end(suffix: str) -> bytes:
    """The last 6 bytes of an id, of the 12 digits that `aioqueue top` shows; `BadOption` for what no id ends with."""
    digits = _digits_of(suffix)
    if len(digits) != 2 * ID_END_BYTES:
        raise BadOption(option="id", value=suffix, reason="it must be the last 12 digits of a job's id")
    return bytes.fromhex(digits)


def id_bytes(text: str) -> bytes:
    """The 16 bytes of a printed id; `JobNotFound` for what is none, for such a job cannot be known.

    Of the beginning of one it says how to find the rest, and of other text how one's own id is found.
    """
    try:
        return uuid.UUID(text).bytes
    except (ValueError, AttributeError, TypeError):
        found = JobNotFound(job=repr(text))
    hint = "a job's id is a UUID; for one of your own (`id=`) say `queue=` too, or --queue"
    if _digits_of(text) and len(text) <= _TEXT_CHARACTERS:
        hint = (
            f"it is the beginning of an id, and `aioqueue ls --id {text}` or `queue.find(id={text!r})` finds the whole"
        )
    raise JobNotFound(f"{found}; {hint}", **found.fields)


def _digits_of(prefix: object) -> str:
    """The hexadecimal digits of what may be the beginning of an id; empty if none begins so."""
    if not isinstance(prefix, str):
        return ""
    digits = prefix.replace("-", "").lower()
    return digits if len(digits) <= 2 * JOB_ID_BYTES and set(digits) <= _DIGITS else ""
