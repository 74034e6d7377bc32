"""What may name a namespace, a queue or a task."""

from __future__ import annotations

import pytest

from aioqueue.errors import BadName, BadOption
from aioqueue.limits import TEXT_CHARACTERS_MAX
from aioqueue.model.names import check_name, check_text


@pytest.mark.parametrize("name", ["a", "A", "0", "_", ".", "-", "shop.mail.send", "Mail_2-high", "x" * 128])
def test_a_name_of_allowed_characters_is_given_back(name: str) -> None:
    assert check_name("queue", name) is name


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a\n", "\na", "a/b", "a\x00", "ä", "é", "a*", "a:b", "x" * 129, "\u0663", "\U0001d4b6", "\u212a"],
)
def test_a_name_of_other_characters_or_another_length_is_refused(name: str) -> None:
    with pytest.raises(BadName) as refusal:
        check_name("queue", name)
    assert (refusal.value.what, refusal.value.name, refusal.value.limit) == ("queue", name, 128)


@pytest.mark.parametrize("name", [None, 5, b"mail", ["mail"], {"a": 1}, True])
def test_what_is_no_text_is_refused_as_a_name(name: object) -> None:
    with pytest.raises(BadName):
        check_name("queue", name)  # type: ignore[arg-type]


def test_a_refused_name_is_refused_each_time_for_what_it_should_have_named() -> None:
    for what in ("queue", "task", "queue"):
        with pytest.raises(BadName) as refusal:
            check_name(what, "a b")
        assert refusal.value.what == what


@pytest.mark.parametrize("text", ["", "sold out", "ausverkauft \u00fc\n\U0001f4e6", "x" * TEXT_CHARACTERS_MAX])
def test_a_text_that_can_be_sent_is_given_back(text: str) -> None:
    assert check_text("reason", text) is text


@pytest.mark.parametrize("text", ["x" * (TEXT_CHARACTERS_MAX + 1), "\udcff", "a\ud800b", None, b"sold out"])
def test_a_text_that_no_message_can_carry_is_refused(text: str) -> None:
    with pytest.raises(BadOption) as refusal:
        check_text("reason", text)
    assert refusal.value.option == "reason"
    assert len(str(refusal.value)) < 300
