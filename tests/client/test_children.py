"""The ids of children: the same for the same call of the same parent, and for nothing else."""

from __future__ import annotations

import pytest

from aioqueue.client.children import Family
from aioqueue.client.context import Context
from aioqueue.client.ties import NoConnection
from aioqueue.errors import Refused
from aioqueue.model.ids import child_id, generated_id, is_own_id, own_id, route_in, route_of
from aioqueue.protocol.extras import Key, flag_in, id_in

PARENT = generated_id("shop", "mail", 1_700_000_000_000, bytes(8))
GOLDEN = "4966f3e36f838afca6eabfacbe04204a"
OTHER = generated_id("shop", "mail", 1_700_000_000_000, b"another.")


def test_a_second_run_makes_the_same_ids_in_any_order() -> None:
    calls = [("send", b"a"), ("send", b"b"), ("send", b"a"), ("pack", b"a")]
    first, second = Family(PARENT), Family(PARENT)
    made = [first.next_id("shop", "mail", *call) for call in calls]
    again = [second.next_id("shop", "mail", *call) for call in reversed(calls)]
    assert len(set(made)) == 4
    assert set(again) == set(made)


def test_another_parent_lane_or_task_makes_another_child() -> None:
    ids = {
        child_id("shop", "mail", PARENT, ("send", b"a", 1)),
        child_id("shop", "mail", OTHER, ("send", b"a", 1)),
        child_id("shop", "sums", PARENT, ("send", b"a", 1)),
        child_id("else", "mail", PARENT, ("send", b"a", 1)),
        child_id("shop", "mail", PARENT, ("pack", b"a", 1)),
        own_id("shop", "mail", "send"),
    }
    assert len(ids) == 6
    assert all(is_own_id(each) for each in ids)


def test_the_id_of_a_child_leads_to_its_lane() -> None:
    assert route_in(Family(PARENT).next_id("shop", "mail", "send", b"a")) == route_of("shop", "mail")


def test_the_id_of_a_child_never_changes() -> None:
    assert child_id("shop", "mail", PARENT, ("send", b"\x01args", 2)).hex() == GOLDEN


def test_a_child_names_its_parent_and_says_whether_it_inherits() -> None:
    plain = Family(PARENT).extra(None, False)
    bound = Family(PARENT).extra({int(Key.DEADLINE): b"\x07"}, True)
    assert (id_in(plain, Key.PARENT), flag_in(plain, Key.INHERIT)) == (PARENT, False)
    assert (id_in(bound, Key.PARENT), flag_in(bound, Key.INHERIT), bound[Key.DEADLINE]) == (PARENT, True, b"\x07")


async def test_a_task_in_a_process_of_its_own_is_told_that_it_cannot_submit_children() -> None:
    context = Context(PARENT, task="send", queue="mail", ties=NoConnection())
    with pytest.raises(Refused, match='executor="process" cannot submit children'):
        context.submit("pack")
