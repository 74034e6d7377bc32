from __future__ import annotations

import msgspec
import pytest

from aioqueue.errors import BadName, BadOption, MalformedFrame, PayloadTooLarge, Unsupported
from aioqueue.limits import TASK_BODY_BYTES_MAX, TASK_DIGEST_BYTES
from aioqueue.model.registry import (
    DESCRIPTION_FIELDS,
    Passing,
    TaskDescription,
    TaskParameter,
    digest_of,
    pack_description,
    unpack_description,
)
from aioqueue.model.spec import RetryPolicy

WHOLE = TaskDescription(
    "mail", 7, RetryPolicy(attempts=1), 30_000, 86_400_000, "process", ("gpu",), 5_000, (60_000, 0),
    (0, 1_900_000_000_000), True, {"b": "1", "a": "2"},
    (TaskParameter("to", "str"), TaskParameter("more", "", False, Passing.MORE_KEYWORDS)),
    "int", "Send a letter.",
)  # fmt: skip


def packed(*fields: object) -> bytes:
    return msgspec.msgpack.encode(list(fields))


def test_a_description_comes_back_as_it_was_packed() -> None:
    assert unpack_description("shop.send", pack_description("shop.send", WHOLE)) == WHOLE
    plain = TaskDescription("default")
    assert unpack_description("shop.send", pack_description("shop.send", plain)) == plain


def test_equal_declarations_have_one_digest_whatever_the_order_of_their_headers() -> None:
    other = msgspec.structs.replace(WHOLE, headers={"a": "2", "b": "1"})
    one, two = pack_description("t", WHOLE), pack_description("t", other)
    assert digest_of(one) == digest_of(two)
    assert len(digest_of(one)) == TASK_DIGEST_BYTES
    assert digest_of(one) != digest_of(pack_description("t", msgspec.structs.replace(WHOLE, priority=1)))


def test_a_description_of_a_newer_version_is_refused_and_not_read_without_what_is_new() -> None:
    newer = msgspec.msgpack.decode(pack_description("t", WHOLE))
    with pytest.raises(Unsupported, match="task t declares"):
        unpack_description("t", packed(*newer, "a limit"))
    newer[12][0].append("more")
    with pytest.raises(Unsupported):
        unpack_description("t", packed(*newer))


@pytest.mark.parametrize("name", ["1a", "a b", "lambda", "", "x: __import__('os')", "*"])
def test_what_is_no_name_of_a_parameter_is_refused(name: str) -> None:
    body = pack_description("t", TaskDescription("default", parameters=(TaskParameter(name),)))
    with pytest.raises(BadOption, match="parameter"):
        unpack_description("t", body)


def test_what_is_no_description_is_refused() -> None:
    with pytest.raises(MalformedFrame, match="task t"):
        unpack_description("t", b"\xc1")
    with pytest.raises(MalformedFrame):
        unpack_description("t", packed(7))
    with pytest.raises(BadName):
        unpack_description("t", pack_description("t", TaskDescription("no queue")))


def test_a_description_that_is_too_long_names_its_task() -> None:
    with pytest.raises(PayloadTooLarge, match=r"description of task shop\.send"):
        pack_description("shop.send", TaskDescription("default", headers={"a": "x" * TASK_BODY_BYTES_MAX}))


def test_all_fields_of_the_first_release_are_written() -> None:
    assert {kind: len(kind.__struct_fields__) for kind in DESCRIPTION_FIELDS} == DESCRIPTION_FIELDS
