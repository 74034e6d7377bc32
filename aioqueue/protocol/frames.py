"""Frames: how a stream of bytes is cut into messages.

A frame is a length of four bytes, big-endian, and then that many bytes of payload. This module refuses a length above
the limit as soon as the length itself is there, and never holds more than what really came: a peer that announces
4 MiB and sends ten bytes costs ten bytes. Called by `transport.connection`; it knows no sockets.
"""

from __future__ import annotations

from typing import Final

from aioqueue.errors import FrameTooLong, PayloadTooLarge
from aioqueue.limits import FRAME_BYTES_MAX

HEADER_BYTES: Final = 4


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
                raise FrameTooLong(size=size, limit=limit)
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
                raise FrameTooLong(size=size, limit=self._frame_bytes_max)
            if len(partial) == HEADER_BYTES + size:
                payloads.append(bytes(memoryview(partial)[HEADER_BYTES:]))
                self._partial = bytearray()
                return used
            self._wanted = HEADER_BYTES + size
