"""Messages as bytes, and bytes as messages.

A payload is decoded straight into its typed record, without building untyped objects in between; every list has a
bound that is checked before the list is allocated. What cannot be read is `MalformedFrame` with the message's name;
what can be read and is not known here is `UnexpectedMessage`, so that a version that is too old says so.
docs/adr/0001-msgspec-on-the-wire.md gives the figures behind this choice.
"""

from __future__ import annotations

from typing import Final, NoReturn, get_args

import msgspec

from aioqueue.errors import MalformedFrame, PayloadTooLarge, PeerMisbehaved, UnexpectedMessage
from aioqueue.limits import FRAME_BYTES_MAX
from aioqueue.protocol.frames import HEADER_BYTES
from aioqueue.protocol.messages import RESERVED_KINDS, BrokerMessage, ClientMessage, Message

# All that msgspec raises for bad bytes: its own errors and UnicodeDecodeError are ValueErrors.
_UNREADABLE: Final = (ValueError, RecursionError)


def _names(union: object) -> dict[int, str]:
    names: dict[int, str] = {}
    for kind in get_args(union):
        tag = kind.__struct_config__.tag
        names[tag] = kind.__name__
    return names


KINDS: Final[dict[int, str]] = _names(Message)
CLIENT_KINDS: Final[frozenset[int]] = frozenset(_names(ClientMessage))
BROKER_KINDS: Final[frozenset[int]] = frozenset(_names(BrokerMessage))


class Codec:
    """Encodes any message; decodes those of one side. Holds no state of a connection and may be shared by all."""

    __slots__ = ("_broker", "_client", "_encoder", "_frame_bytes_max")

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._encoder = msgspec.msgpack.Encoder()
        self._client: msgspec.msgpack.Decoder[ClientMessage] = msgspec.msgpack.Decoder(ClientMessage)
        self._broker: msgspec.msgpack.Decoder[BrokerMessage] = msgspec.msgpack.Decoder(BrokerMessage)

    def encode(self, message: Message) -> bytes:
        """The message as one whole frame; `PayloadTooLarge` if the peer would refuse it."""
        frame = bytearray()
        self.encode_into(message, frame)
        return bytes(frame)

    def encode_into(self, message: Message, buffer: bytearray) -> None:
        """Append the message's frame to `buffer`; raises `PayloadTooLarge` and leaves `buffer` as it was.

        This spares an object and a copy for each message of a write that holds many.
        """
        start = len(buffer)
        body = start + HEADER_BYTES
        try:
            self._encoder.encode_into(message, buffer, body)
        except BaseException:
            del buffer[start:]
            raise
        size = len(buffer) - body
        if size > self._frame_bytes_max:
            del buffer[start:]
            raise PayloadTooLarge(what=f"a {type(message).__name__} message", size=size, limit=self._frame_bytes_max)
        buffer[start:body] = size.to_bytes(HEADER_BYTES, "big")

    def decode_client(self, payload: bytes) -> ClientMessage:
        """What a client sent; `MalformedFrame` or `UnexpectedMessage`."""
        try:
            return self._client.decode(payload)
        except _UNREADABLE as error:
            _explain(payload, error, CLIENT_KINDS, "a client")

    def decode_broker(self, payload: bytes) -> BrokerMessage:
        """What a broker sent; `MalformedFrame` or `UnexpectedMessage`."""
        try:
            return self._broker.decode(payload)
        except _UNREADABLE as error:
            _explain(payload, error, BROKER_KINDS, "a broker")


def _explain(payload: bytes, error: Exception, expected: frozenset[int], sender: str) -> NoReturn:
    raise _fault(payload, error, expected, sender) from None


def _fault(payload: bytes, error: Exception, expected: frozenset[int], sender: str) -> PeerMisbehaved:
    kind = kind_of(payload)
    if kind is None:
        return MalformedFrame(reason=f"it is not an array that begins with a kind ({error})")
    name = KINDS.get(kind)
    if kind in expected:
        return MalformedFrame(reason=f"{name}: {error}")
    if name is not None:
        return UnexpectedMessage(message=name, when=f"from {sender}")
    if kind in RESERVED_KINDS:
        return UnexpectedMessage(message=f"kind {kind}", when=f"from {sender}: it is reserved for a later version")
    return UnexpectedMessage(message=f"kind {kind}", when=f"from {sender}: no message has this number")


def kind_of(payload: bytes) -> int | None:
    """The number a payload begins with, or None if it does not begin as a message does. For naming faults only."""
    first = payload[0] if payload else 0
    start = 1 if 0x91 <= first <= 0x9F else {0xDC: 3, 0xDD: 5}.get(first)
    if start is None or len(payload) <= start:
        return None
    number = payload[start]
    if number < 0x80:
        return number
    width = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}.get(number)
    if width is None or len(payload) <= start + width:
        return None
    return int.from_bytes(payload[start + 1 : start + 1 + width], "big")
