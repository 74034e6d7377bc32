"""What decoding and encoding cost on the wire: msgspec's typed records against msgpack and records built by hand.

    python benchmarks/codec.py

Microseconds of CPU a message, the best of several rounds, taken in turn so that a change of the machine's speed meets
all of them. docs/adr/0001-msgspec-on-the-wire.md quotes a run.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import msgpack
import msgspec

from aioqueue.limits import FRAME_BYTES_MAX
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.messages import (
    ClientMessage,
    Deliver,
    DeliverItem,
    Message,
    RunEnd,
    Settle,
    SettleItem,
    Submit,
    SubmitItem,
)

ROUNDS = 15
ROUND_SECONDS = 0.05
# What DESIGN would set for each kind; the loosest that lets our largest messages through.
LIMITS: dict[str, Any] = {
    "max_array_len": 10_000, "max_map_len": 16, "max_str_len": 4096, "max_bin_len": FRAME_BYTES_MAX, "max_ext_len": 0,
}  # fmt: skip

CODEC = Codec()
# As a careful hand would write them: a table for the enum, and all fields of an item in one call.
RUN_ENDS = {int(end): end for end in RunEnd}
SUBMIT_FIELDS = attrgetter(*SubmitItem.__struct_fields__)
DELIVER_FIELDS = attrgetter(*DeliverItem.__struct_fields__)
SETTLE_FIELDS = attrgetter(*SettleItem.__struct_fields__)
BUILD: dict[int, Callable[[list[Any]], Message]] = {
    20: lambda it: Submit(it[1], [SubmitItem(*item) for item in it[2]]),
    53: lambda it: Deliver([DeliverItem(*item) for item in it[1]]),
    54: lambda it: Settle(it[1], [SettleItem(i[0], i[1], RUN_ENDS[i[2]], *i[3:]) for i in it[2]]),
}
FLATTEN: dict[type[Any], Callable[[Any], list[Any]]] = {
    Submit: lambda it: [20, it.request, [SUBMIT_FIELDS(item) for item in it.items]],
    Deliver: lambda it: [53, [DELIVER_FIELDS(item) for item in it.items]],
    Settle: lambda it: [54, it.request, [SETTLE_FIELDS(item) for item in it.items]],
}


def by_hand(payload: bytes) -> Message:
    """msgpack, then our records, built without checking any field."""
    raw = msgpack.unpackb(payload, **LIMITS)
    return BUILD[raw[0]](raw)


def converted(payload: bytes) -> Message:
    """msgpack, then msgspec's own conversion, which checks the fields."""
    return msgspec.convert(msgpack.unpackb(payload, **LIMITS), ClientMessage | Deliver)


def untyped(payload: bytes) -> Any:
    """msgpack alone: lists that somebody would still have to check and index by number."""
    return msgpack.unpackb(payload, **LIMITS)


def flattened(message: Message) -> bytes:
    return msgpack.packb(FLATTEN[type(message)](message))


def once(call: Callable[[Any], object], argument: Any, times: int) -> float:
    """CPU microseconds of one call."""
    started = time.process_time_ns()
    for _ in range(times):
        call(argument)
    return (time.process_time_ns() - started) / times / 1_000


def best(calls: dict[str, Callable[[Any], object]], argument: Any) -> dict[str, float]:
    times = {name: max(1, int(ROUND_SECONDS * 1e6 / once(call, argument, 3))) for name, call in calls.items()}
    found = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for name, call in calls.items():
            found[name] = min(found[name], once(call, argument, times[name]))
    return found


def show(title: str, found: dict[str, float], items: int) -> None:
    ours = found["msgspec"]
    columns = [f"{name} {us:8.2f} us ({us / ours:.1f}x)" for name, us in found.items()]
    print(f"{title:28} {' | '.join(columns)} | msgspec an item {ours / items:.2f} us")


def peak(call: Callable[[bytes], object], payload: bytes) -> str:
    tracemalloc.start()
    outcome = "taken"
    try:
        kept = call(payload)
        del kept
    except Exception as error:
        outcome = type(error).__name__
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return f"{most / 1e6:8.2f} MB ({outcome})"


def main() -> None:
    job, spec, args = bytes(range(16)), bytes(58), bytes(40)
    submit = SubmitItem(job, spec, args, 2)
    deliver = DeliverItem(job, 123_456, 1, "app.tasks.send", args, queue="default")
    settle = SettleItem(job, 123_456, RunEnd.SUCCEEDED, bytes(10))
    decode = msgspec.msgpack.Decoder(ClientMessage | Deliver).decode
    decoders = {"msgspec": decode, "by hand": by_hand, "convert": converted, "untyped": untyped}
    encoders = {"msgspec": msgspec.msgpack.Encoder().encode, "by hand": flattened}
    for count in (1, 10, 500):
        for message in (Submit(7, [submit] * count), Deliver([deliver] * count), Settle(7, [settle] * count)):
            title = f"{type(message).__name__} of {count}"
            show(f"decode {title}", best(decoders, CODEC.encode(message)[4:]), count)
            show(f"encode {title}", best(encoders, message), count)
    bombs = {
        "4 MiB of empty maps": b"\x93\x01\x01" + b"\xdd\x00\x3f\xff\xf0" + b"\x80" * 0x3FFFF0,
        "nested, 10,000 x 400 maps": b"\x93\x01\x01\xdc\x27\x10" + (b"\xdc\x01\x9f" + b"\x80" * 415) * 10_000,
        "4 MiB of nested arrays": b"\x93\x01\x01" + b"\x91" * (FRAME_BYTES_MAX - 10),
        "a list of 2**32 - 1": b"\x93\x14\x01\xdd\xff\xff\xff\xff",
    }
    for name, payload in bombs.items():
        print(f"{name:28} msgspec {peak(CODEC.decode_client, payload)} | msgpack {peak(untyped, payload)}")


if __name__ == "__main__":
    main()
