"""What a submit sends, made without any connection."""

from __future__ import annotations

from aioqueue.client.children import Family
from aioqueue.client.ids import JobIds
from aioqueue.client.items import Items
from aioqueue.client.named import NamedTask
from aioqueue.clock import ManualClock
from aioqueue.ground import Ground
from aioqueue.model.ids import generated_id, own_id, route_in, route_of
from aioqueue.protocol.extras import Key, id_in
from aioqueue.protocol.messages import SubmitFlag, SubmitItem

SEND = NamedTask("send").options(queue="mail")
PARENT = generated_id("shop", "mail", 1_700_000_000_000, bytes(8))
RESEND, OWN_ID = int(SubmitFlag.RESEND), int(SubmitFlag.OWN_ID)


def items() -> Items:
    return Items("shop", JobIds("shop", Ground(ManualClock())))


def test_without_a_connection_an_item_has_an_id_that_leads_to_its_queue() -> None:
    item = items().item(SEND, b"body", 0)
    assert route_in(item.job) == route_of("shop", "mail")
    assert (item.spec, item.args) == (SEND.plan("shop").spec_bytes, b"body")


def test_a_caller_s_own_id_is_hashed_and_told_as_it_was_written() -> None:
    item = items().item(SEND.options(id="welcome-42"), b"", 0)
    assert (item.job, item.own_id, item.flags) == (own_id("shop", "mail", "welcome-42"), "welcome-42", OWN_ID)


def test_another_run_of_the_parent_makes_the_same_child() -> None:
    def made() -> SubmitItem:
        return items().child(Family(PARENT), SEND, b"body")

    assert made() == made()
    assert (made().flags, id_in(made().extra or {}, Key.PARENT)) == (RESEND, PARENT)


def test_a_child_with_an_id_of_its_own_keeps_it() -> None:
    item = items().child(Family(PARENT), SEND.options(id="welcome-42"), b"")
    assert (item.job, item.flags) == (own_id("shop", "mail", "welcome-42"), RESEND | OWN_ID)
