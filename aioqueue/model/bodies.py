"""Bodies: arguments, results and errors as bytes that the broker never looks into.

The first byte names the codec; 1 is msgpack. Arguments are packed as `[args, kwargs]`, a result as itself, an error as
a `Failure`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from aioqueue.model.convert import to_plain
from aioqueue.model.views import Failure

MSGPACK: Final = b"\x01"

_encoder = msgspec.msgpack.Encoder(enc_hook=to_plain)
_any_decoder = msgspec.msgpack.Decoder()
_failure_decoder = msgspec.msgpack.Decoder(Failure)
_headers_decoder = msgspec.msgpack.Decoder(dict[str, str])


def pack_body(value: Any) -> bytes:
    """A value as a body; `TypeError` or `ValueError` (also `msgspec.ValidationError`) for what msgpack cannot say."""
    return MSGPACK + _encoder.encode(value)


def unpack_body(body: bytes) -> Any:
    """The plain value in a body (dicts, lists, strings, numbers, datetimes).

    Raises `ValueError` for an unknown codec and for bytes that are not what their codec says.
    """
    if body[:1] != MSGPACK:
        raise ValueError(f"codec {body[:1]!r} is not known here")
    try:
        return _any_decoder.decode(memoryview(body)[1:])
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def pack_failure(failure: Failure) -> bytes:
    return MSGPACK + _encoder.encode(failure)


def unpack_failure(body: bytes) -> Failure:
    """The failure in an error's body; one that cannot be read is told as such instead of hiding the job."""
    try:
        return _failure_decoder.decode(memoryview(body)[1:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Failure("UnreadableError", f"the worker's error could not be read: {error}")


def failure_line(body: bytes) -> str:
    """The failure in an error's body on one line, `Type: text`, as lists show it and searches read it."""
    failure = unpack_failure(body)
    return f"{failure.type}: {failure.text}"


# How a job died that its worker's process never outlived: there is no error to tell.
CRASHED: Final = pack_failure(
    Failure("WorkerCrashed", "the worker's process ended without a word each time it ran this job", "", False)
)


def pack_headers(headers: dict[str, str]) -> bytes:
    """Headers as they travel; nothing at all for none."""
    return _encoder.encode(headers) if headers else b""


def unpack_headers(data: bytes) -> dict[str, str]:
    if not data:
        return {}
    try:
        return _headers_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
