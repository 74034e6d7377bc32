"""The bytes of version 1 of the protocol, as they were when it was settled."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from aioqueue.protocol.codec import KINDS, Codec
from aioqueue.protocol.messages import PROTOCOL_VERSION, Message
from tests.support.examples import BROKER_TYPES, CLIENT_TYPES, EXAMPLES, GOLDEN, INFO, STATISTICS, file_of

CODEC = Codec()
# What was said in the same version of the protocol before fields were appended.
OLDER = GOLDEN.with_name("frames-v1-older")


def name_of(message: Message) -> str:
    return type(message).__name__


@pytest.mark.parametrize("message", EXAMPLES, ids=name_of)
def test_a_message_is_written_as_it_always_was(message: Message) -> None:
    assert CODEC.encode(message).hex() == file_of(message).read_text(encoding="ascii").strip()


@pytest.mark.parametrize("message", EXAMPLES, ids=name_of)
def test_an_old_frame_is_read_as_it_always_was(message: Message) -> None:
    payload = bytes.fromhex(file_of(message).read_text(encoding="ascii"))[4:]
    if isinstance(message, CLIENT_TYPES):
        assert CODEC.decode_client(payload) == message
    if isinstance(message, BROKER_TYPES):
        assert CODEC.decode_broker(payload) == message


def test_a_frame_of_before_fields_were_appended_has_their_defaults() -> None:
    said_by_brokers = {type(message).__name__ for message in EXAMPLES if isinstance(message, BROKER_TYPES)}
    older = {}
    for path in OLDER.iterdir():
        decode = CODEC.decode_broker if path.stem[4:] in said_by_brokers else CODEC.decode_client
        older[path.stem] = decode(bytes.fromhex(path.read_text(encoding="ascii"))[4:])
    whole = {file_of(message).stem: message for message in EXAMPLES}
    without_arguments = structs.replace(INFO, first_generation=0, args=b"", args_bytes=0, unserved="")
    [worker] = STATISTICS.workers
    shared = structs.replace(worker, process_slots=0, all_queues=False)
    defaults: dict[str, dict[str, Any]] = {
        "010-Hello": {"about": b"", "process": b"", "epoch_seen": 0},
        "041-StatisticsUpdate": {"statistics": structs.replace(STATISTICS, workers=[shared])},
        "052-Capacity": {"number": 0, "process_slots": 0},
        "032-GetJob": {"args_bytes": 0},
        "033-JobRecord": {"info": without_arguments},
        "034-FindJobs": {"id_suffix": "", "args_bytes": 0},
        "035-JobPage": {"jobs": [without_arguments]},
        "054-Settle": {"follows": False},
        "055-Settled": {"following": []},
    }
    assert older == {name: structs.replace(whole[name], **fields) for name, fields in defaults.items()}


def test_no_message_is_without_a_golden_frame() -> None:
    assert sorted(file_of(message).name for message in EXAMPLES) == sorted(path.name for path in GOLDEN.iterdir())
    assert {name_of(message) for message in EXAMPLES} == set(KINDS.values())


def test_the_golden_frames_set_every_field() -> None:
    """A frame with fields left out would not notice that a field moved."""
    for message in EXAMPLES:
        array = len(type(message).__struct_fields__) + 1
        assert CODEC.encode(message)[4] == 0x90 | array, name_of(message)


def test_the_golden_frames_are_those_of_the_version_that_is_spoken() -> None:
    assert GOLDEN.name == f"frames-v{PROTOCOL_VERSION}"
