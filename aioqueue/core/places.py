"""Where a job's arguments lie in the bodies of its home batch, as one number: a million jobs hold one each.

48 bytes a job, where an offset, a length and a checksum of their own would be 96.
"""

from __future__ import annotations

from typing import Final, NamedTuple

# A batch is at most 8 MiB, so 24 bits hold what lies within one.
_BITS: Final = 24
LENGTH_MASK: Final = (1 << _BITS) - 1


class Place(NamedTuple):
    """`length` bytes from `offset` in the bodies of a batch, with the CRC-32 `crc`."""

    offset: int
    length: int
    crc: int


def pack_place(offset: int, length: int, crc: int) -> int:
    return (crc << _BITS | offset) << _BITS | length


def unpack_place(place: int) -> Place:
    return Place(place >> _BITS & LENGTH_MASK, place & LENGTH_MASK, place >> 2 * _BITS)


def same_body(one: int, other: int) -> bool:
    """Whether both have the length and the checksum of one body, wherever it lies."""
    return unpack_place(one)[1:] == unpack_place(other)[1:]


def length_in(place: int) -> int:
    """How long the body there is."""
    return place & LENGTH_MASK
