from __future__ import annotations

from aioqueue.model.rights import ANYBODY, Right


def test_every_right_is_one_bit_of_its_own() -> None:
    assert [right.value for right in Right] == [1 << place for place in range(len(Right))]


def test_what_anybody_may_do_asks_for_no_right() -> None:
    assert not any(right in ANYBODY for right in Right)
