"""A client that saw what the journal does not have is a witness of it, however far the journal has come since (I18)."""

from __future__ import annotations

import os

import pytest

from aioqueue.broker.witness import Claim, Witness
from aioqueue.errors import Deposed, HistoryLost
from aioqueue.protocol import messages as m
from tests.broker.conftest import House, Running, Script, item, running
from tests.broker.test_peer import end_of

JOURNAL = b"the journal's id"


def witness_of(*begins: tuple[int, int]) -> Witness:
    """The witness of a log whose epochs begin so, with a few batches each."""
    witness = Witness("jobs.db")
    for epoch, first in begins:
        for position in range(first, first + 3):
            witness.saw(epoch, position, begins=position == first)
    return witness


# The log begins at 301, in epoch 4; epoch 5 begins at 451, epoch 6 at 481 and goes on to 520.
@pytest.mark.parametrize(
    ("claim", "refused"),
    [
        pytest.param((0, 0), None, id="a client that saw nothing"),
        pytest.param((0, 520), None, id="an older client that saw the end"),
        pytest.param((0, 521), HistoryLost, id="an older client that saw more"),
        pytest.param((6, 520), None, id="this epoch, the end"),
        pytest.param((6, 481), None, id="this epoch, its own record"),
        pytest.param((6, 521), HistoryLost, id="this epoch, more than the end"),
        pytest.param((5, 480), None, id="the epoch before, its end"),
        pytest.param((5, 481), HistoryLost, id="the epoch before, one that was lost, though the end is higher"),
        pytest.param((5, 500), HistoryLost, id="the epoch before, many that were lost, though the end is higher"),
        pytest.param((5, 600), HistoryLost, id="the epoch before, behind the end"),
        pytest.param((4, 450), None, id="the oldest epoch of the log, its end"),
        pytest.param((4, 451), HistoryLost, id="the oldest epoch of the log, one that was lost"),
        pytest.param((3, 300), None, id="an epoch that was trimmed, below the log"),
        pytest.param((3, 1), None, id="an epoch that was trimmed, long ago"),
        pytest.param((3, 301), HistoryLost, id="an epoch that was trimmed, where a later one stands"),
        pytest.param((7, 1), Deposed, id="a later epoch, though its position is known"),
        pytest.param((7, 600), Deposed, id="a later epoch, behind the end"),
    ],
)
def test_a_claim_is_judged_by_the_end_of_its_own_epoch(claim: tuple[int, int], refused: type[Exception] | None) -> None:
    witness = witness_of((4, 301), (5, 451), (6, 481))
    if refused is None:
        witness.check(Claim(JOURNAL, *claim), JOURNAL, 6, 520)
        return
    with pytest.raises(HistoryLost) as caught:
        witness.check(Claim(JOURNAL, *claim), JOURNAL, 6, 520)
    assert type(caught.value) is refused


# Epoch 5 begins at 1, and its leader goes on in epoch 6 at 101; another leads epoch 7 from 201 on, up to 300.
@pytest.mark.parametrize(
    ("claim", "is_lost"),
    [((5, 150), False), ((5, 200), False), ((5, 201), True), ((6, 200), False), ((6, 250), True), ((7, 300), False)],
)
def test_a_leader_that_goes_on_in_a_further_epoch_has_lost_nothing(claim: tuple[int, int], is_lost: bool) -> None:
    witness = witness_of((5, 1))
    witness.saw(6, 101, begins=False)
    witness.may_renew()
    witness.saw(6, 102, begins=False)
    witness.saw(7, 201, begins=True)
    if not is_lost:
        witness.check(Claim(JOURNAL, *claim), JOURNAL, 7, 300)
        return
    with pytest.raises(HistoryLost):
        witness.check(Claim(JOURNAL, *claim), JOURNAL, 7, 300)


def test_a_log_that_begins_within_a_further_epoch_does_not_accuse_those_of_the_one_before() -> None:
    witness = Witness("jobs.db")
    witness.saw(6, 180, begins=False)
    witness.saw(7, 201, begins=True)
    # The record of epoch 7 says that the log is above level 1, so epoch 6 may have been the renewal of epoch 5.
    witness.may_renew()
    witness.check(Claim(JOURNAL, 5, 200), JOURNAL, 7, 300)
    with pytest.raises(HistoryLost):
        witness.check(Claim(JOURNAL, 5, 201), JOURNAL, 7, 300)


def test_without_levels_a_log_that_begins_within_an_epoch_knows_that_those_before_ended_below_it() -> None:
    witness = Witness("jobs.db")
    witness.saw(6, 180, begins=False)
    witness.check(Claim(JOURNAL, 5, 179), JOURNAL, 6, 300)
    with pytest.raises(HistoryLost):
        witness.check(Claim(JOURNAL, 5, 180), JOURNAL, 6, 300)


@pytest.mark.parametrize("claim", [(7, 1), (6, 521), (5, 500), (0, 521)])
def test_what_was_seen_of_another_journal_is_no_claim(claim: tuple[int, int]) -> None:
    witness_of((5, 451), (6, 481)).check(Claim(b"another journal.", *claim), JOURNAL, 6, 520)


def test_a_log_that_keeps_nothing_judges_by_the_end_alone() -> None:
    witness = Witness("memory:")
    witness.check(Claim(JOURNAL, 1, 40), JOURNAL, 2, 40)
    with pytest.raises(HistoryLost):
        witness.check(Claim(JOURNAL, 1, 41), JOURNAL, 2, 40)


def test_the_sentence_tells_what_was_seen_and_where_that_ended() -> None:
    witness = witness_of((5, 451), (6, 481))
    with pytest.raises(HistoryLost, match=r"jobs.db: a client saw position 500 of epoch 5, which ended at 480"):
        witness.check(Claim(JOURNAL, 5, 500), JOURNAL, 6, 520)
    with pytest.raises(Deposed, match=r"a client saw epoch 7 of jobs.db, which is at epoch 6 here"):
        witness.check(Claim(JOURNAL, 7, 500), JOURNAL, 6, 520)


# --- a broker ---


async def claims(at: Running, epoch: int, position: int) -> Script:
    script = await at.connect()
    journal_id = at.broker.engine.journal_id
    script.say(
        m.Hello(
            1, 1, m.Role.CLIENT, os.urandom(16), journal_id=journal_id, position_seen=position, epoch_seen=epoch
        )
    )  # fmt: skip
    return script


async def submit_until(at: Running, position: int) -> tuple[int, int]:
    """Submit jobs until one is durable there or later; the epoch and the position that the client saw."""
    client = await at.peer()
    seen = 0
    while seen < position:
        seen = (await client.submit(item())).position
    return at.broker.engine.epoch, seen


async def test_a_broker_that_lost_a_tail_refuses_who_saw_it_however_far_it_has_come_since(house: House) -> None:
    async with running(house) as at:
        epoch, seen = await submit_until(at, 8)
    for position in [position for position in house.store.batches if position > seen - 3]:
        del house.store.batches[position]
    async with running(house) as at:
        await submit_until(at, seen + 5)
        assert await end_of(await claims(at, epoch, seen)) == "history_lost"
        # Whoever saw no more than what is left is served, and so is who saw the new history.
        assert (await (await claims(at, epoch, seen - 3)).hear(m.Welcome)).epoch == epoch + 1
        assert (await (await claims(at, epoch + 1, seen + 5)).hear(m.Welcome)).epoch == epoch + 1


async def test_a_broker_that_lost_nothing_welcomes_who_saw_the_end_of_an_epoch_before(house: House) -> None:
    async with running(house) as at:
        first = await submit_until(at, 5)
    async with running(house) as at:
        second = await submit_until(at, 10)
    async with running(house) as at:
        for epoch, seen in (first, second):
            await (await claims(at, epoch, seen)).hear(m.Welcome)


async def test_a_broker_whose_journal_was_put_back_says_so_to_who_saw_a_later_epoch(house: House) -> None:
    async with running(house) as at:
        await submit_until(at, 5)
    copy = dict(house.store.batches)
    for _ in range(2):
        async with running(house) as at:
            epoch, seen = await submit_until(at, 5)
    house.store.batches = copy
    async with running(house) as at:
        await submit_until(at, seen + 5)
        assert await end_of(await claims(at, epoch, seen)) == "deposed"
        assert (await (await at.peer()).submit(item())).outcomes == []
