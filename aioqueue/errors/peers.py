"""The other side of a connection broke the protocol, and the connection is closed. Raised by whoever reads it."""

from __future__ import annotations

from aioqueue.errors.base import AioqueueError


class PeerMisbehaved(AioqueueError):
    """The other side sent what the protocol does not allow; the connection is closed."""

    code = "peer_misbehaved"
    sentence = "the peer broke the protocol: {reason}"


class FrameTooLong(PeerMisbehaved):
    code = "frame_too_long"
    sentence = "a frame of {size} bytes was announced, the limit is {limit}"


class ForeignProtocol(FrameTooLong):
    """What came is no frame, but the beginning of another protocol."""

    code = "foreign_protocol"
    sentence = "it speaks {protocol}, not the protocol of aioqueue"


class MalformedFrame(PeerMisbehaved):
    code = "malformed_frame"
    sentence = "a frame could not be read: {reason}"


class UnexpectedMessage(PeerMisbehaved):
    code = "unexpected_message"
    sentence = "{message} is not allowed {when}"


class ProtocolVersionMismatch(PeerMisbehaved):
    code = "protocol_version"
    sentence = (
        "the client speaks protocol versions {client_min} to {client_max}, the broker {broker_min} to {broker_max}; "
        "upgrade the older of the two"
    )


class CapabilityMissing(PeerMisbehaved):
    code = "capability_missing"
    sentence = "the peer requires capability bits {missing:#x}, which this side does not have; upgrade it"
