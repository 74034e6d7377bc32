"""Frames: how a stream of bytes is cut into messages.

A frame is a length of four bytes, big-endian, and then that many bytes of payload. This module refuses a length above
the limit as soon as the length itself is there, and never holds more than what really came: a peer that announces
4 MiB and sends ten bytes costs ten bytes. Called by `transport.connection`; it knows no sockets.
"""

from __future__ import annotations

from typing import Final

from aioqueue.errors import ForeignProtocol, FrameTooLong, PayloadTooLarge
from aioqueue.limits import FRAME_BYTES_MAX

HEADER_BYTES: Final = 4

# How other protocols begin that are met on a mistaken port, from either side. Taken for a frame's length each of these
# is far above any limit, so a frame is never taken for one of them.
_FOREIGN: Final[tuple[tuple[bytes, str], ...]] = (
    (b"HTTP", "HTTP"), (b"GET ", "HTTP"), (b"POST", "HTTP"), (b"PUT ", "HTTP"), (b"HEAD", "HTTP"), (b"OPTI", "HTTP"),
    (b"DELE", "HTTP"), (b"PATC", "HTTP"), (b"CONN", "HTTP"), (b"PRI ", "HTTP"), (b"<!DO", "HTTP"), (b"<htm", "HTTP"),
    (b"\x15\x03", "TLS"), (b"\x16\x03", "TLS"),
    (b"-ERR", "Redis"), (b"-NOA", "Redis"), (b"-DEN", "Redis"), (b"+PON", "Redis"), (b"*1\r\n", "Redis"),
    (b"*2\r\n", "Redis"), (b"*3\r\n", "Redis"),
    (b"SSH-", "SSH"), (b"AMQP", "AMQP"), (b"INFO", "NATS"), (b"220 ", "SMTP or FTP"), (b"220-", "SMTP or FTP"),
    (b"ERROR"[:4], "memcached"), (b"PROX", "the PROXY protocol"),
)  # fmt: skip


def foreign_protocol(beginning: bytes) -> str:
    """The other protocol that begins so, or nothing where it is none of the well-known."""
    return next((name for prefix, name in _FOREIGN if beginning.startswith(prefix)), "")


def frame(payload: bytes, frame_bytes_max: int = FRAME_BYTES_MAX) -> bytes:
    """The payload behind its length; `PayloadTooLarge` for one that the peer would refuse."""
    size = len(payload)
    if size > frame_bytes_max:
        raise PayloadTooLarge(what="a message", size=size, limit=frame_bytes_max)
    return size.to_bytes(HEADER_BYTES, "big") + payload


class FrameReader:
    """Cuts what was read into payloads, whatever the sizes of the reads.

    After `FrameTooLong` the stream has no more frames to find, and the reader must not be fed again.
    """

    __slots__ = ("_frame_bytes_max", "_partial", "_wanted")

    def __init__(self, frame_bytes_max: int) -> None:
        self._frame_bytes_max = frame_bytes_max
        # The beginning of one frame, its header included, and how long it must grow before something can be said of
        # it: first to the header, then to the whole frame.
        self._partial = bytearray()
        self._wanted = HEADER_BYTES

    def raise_limit(self, frame_bytes_max: int) -> None:
        """From the next read on, payloads of up to so many bytes are taken."""
        self._frame_bytes_max = frame_bytes_max

    @property
    def inside_frame(self) -> bool:
        """Whether a frame has begun and not ended; an end of the stream here is not a clean one."""
        return bool(self._partial)

    @property
    def partial_bytes(self) -> int:
        """How much of a frame is here that is not whole yet."""
        return len(self._partial)

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that `data` completes, in order; raises `FrameTooLong`.

        Costs one pass: a byte is copied once, or three times if its frame comes in pieces, however small they are.
        """
        payloads: list[bytes] = []
        position = self._complete_partial(data, payloads) if self._partial else 0
        limit = self._frame_bytes_max
        end = len(data)
        while position + HEADER_BYTES <= end:
            start = position + HEADER_BYTES
            size = int.from_bytes(data[position:start], "big")
            if size > limit:
                raise _too_long(data[position:start], limit)
            position = start + size
            if position > end:
                self._partial += data[start - HEADER_BYTES :]
                self._wanted = HEADER_BYTES + size
                return payloads
            payloads.append(data[start:position])
        if position < end:
            self._partial += data[position:]
            self._wanted = HEADER_BYTES
        return payloads

    def _complete_partial(self, data: bytes, payloads: list[bytes]) -> int:
        """Move bytes into the frame that has begun, and that frame to `payloads` if it is whole; how many were used."""
        partial = self._partial
        used = 0
        while True:
            missing = self._wanted - len(partial)
            partial += data[used : used + missing]
            if used + missing > len(data):
                return len(data)
            used += missing
            size = int.from_bytes(partial[:HEADER_BYTES], "big")
            if size > self._frame_bytes_max:
                raise _too_long(bytes(partial[:HEADER_BYTES]), self._frame_bytes_max)
            if len(partial) == HEADER_BYTES + size:
                payloads.append(bytes(memoryview(partial)[HEADER_BYTES:]))
                self._partial = bytearray()
                return used
            self._wanted = HEADER_BYTES + size


def _too_long(header: bytes, limit: int) -> FrameTooLong:
    size = int.from_bytes(header, "big")
    protocol = foreign_protocol(header)
    return (
        ForeignProtocol(protocol=protocol, size=size, limit=limit) if protocol else FrameTooLong(size=size, limit=limit)
    )
