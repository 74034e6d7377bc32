"""What few jobs have on the wire: `extra`, a small number for each option and its value as packed msgpack.

Times are milliseconds; a duration is counted from when the broker decides the submit, or from when it sends a delivery.
A key that a broker does not know is refused as `unsupported`. Clients pack, brokers read, and the other way round for
what is delivered.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, TypeVar

import msgspec

from aioqueue.errors import BadOption
from aioqueue.limits import JOB_ID_BYTES
from aioqueue.protocol.messages import Extra

_T = TypeVar("_T")


class Key(IntEnum):
    """The options by number; never reused."""

    PARENT = 5
    EXPIRES = 6
    DEADLINE = 7
    INHERIT = 8
    EXPIRES_AT = 9
    DEADLINE_AT = 10


KNOWN: Final = frozenset(map(int, Key))

# Given away already, as kinds are (`messages.reserved`); 12 to 15 are free.
RESERVED_KEYS: Final[dict[int, str]] = {1: "UNIQUE", 2: "GROUP", 3: "LIMITS", 4: "AFTER", 11: "INPUTS"}

_encoder = msgspec.msgpack.Encoder()
_number_decoder = msgspec.msgpack.Decoder(int)
_flag_decoder = msgspec.msgpack.Decoder(bool)
_id_decoder = msgspec.msgpack.Decoder(bytes)


def packed(options: dict[Key, int | bool | bytes]) -> Extra | None:
    """These options, without those that say nothing; None where none says anything."""
    return {int(key): _encoder.encode(value) for key, value in options.items() if value} or None


def number_in(extra: Extra, key: Key, highest: int) -> int:
    """A number of milliseconds, 0 where it is not given. Raises `BadOption`."""
    value = _value(extra, key, _number_decoder)
    if value is not None and not 0 < value <= highest:
        raise BadOption(option=key.name.lower(), value=value, reason=f"it must be 1 to {highest} ms")
    return value or 0


def flag_in(extra: Extra, key: Key) -> bool:
    """Whether an option is set. Raises `BadOption`."""
    value = _value(extra, key, _flag_decoder)
    return value is True


def id_in(extra: Extra, key: Key) -> bytes:
    """A job's id, empty where it is not given. Raises `BadOption`."""
    value = _value(extra, key, _id_decoder)
    if value is not None and len(value) != JOB_ID_BYTES:
        raise BadOption(option=key.name.lower(), value=value.hex(), reason=f"it must be {JOB_ID_BYTES} bytes")
    return value or b""


def _value(extra: Extra, key: Key, decoder: msgspec.msgpack.Decoder[_T]) -> _T | None:
    data = extra.get(key)
    if data is None:
        return None
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadOption(option=key.name.lower(), value=data.hex(), reason=str(error)) from None
