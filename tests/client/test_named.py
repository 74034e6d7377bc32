from __future__ import annotations

import pytest

from aioqueue.client.named import NamedTask
from aioqueue.errors import BadName, BadOption, BadResult, NotSerializable
from aioqueue.model.bodies import pack_body, unpack_body


def test_arguments_are_packed_as_they_are() -> None:
    assert unpack_body(NamedTask("shop.send").pack((1, "a"), {"b": [2]})) == [[1, "a"], {"b": [2]}]


def test_arguments_that_cannot_be_packed_are_named() -> None:
    with pytest.raises(NotSerializable, match=r"shop\.send"):
        NamedTask("shop.send").pack((object(),), {})


def test_a_result_is_a_plain_value() -> None:
    assert NamedTask("shop.send").unpack_result(pack_body({"a": [1]})) == {"a": [1]}
    with pytest.raises(BadResult):
        NamedTask("shop.send").unpack_result(b"\x01\xc1")


def test_options_make_another_plan_and_leave_the_first_alone() -> None:
    first = NamedTask("shop.send")
    second = first.options(queue="mail", id="invoice-42", headers={"a": "b"}).options(headers={"c": "d"})
    assert (second.plan("default").queue, second.plan("default").own_id) == ("mail", "invoice-42")
    assert second.plan("default").headers != b""
    assert (first.plan("default").queue, first.plan("default").own_id) == ("default", "")


def test_a_plan_belongs_to_its_namespace() -> None:
    task = NamedTask("shop.send")
    assert task.plan("one").spec.namespace == "one"
    assert task.plan("two").spec.namespace == "two"
    assert task.plan("two") is task.plan("two")


def test_a_name_or_an_option_that_cannot_be_is_refused() -> None:
    with pytest.raises(BadName):
        NamedTask("shop send")
    with pytest.raises(BadOption):
        NamedTask("shop.send").options(colour="red")  # type: ignore[call-arg]
