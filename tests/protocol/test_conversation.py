from __future__ import annotations

from typing import get_args

import pytest

from aioqueue.errors import UnexpectedMessage
from aioqueue.protocol.conversation import BROKER_SAYS, CLIENT_SAYS, Conversation, Side, State
from aioqueue.protocol.messages import (
    Beat,
    BrokerMessage,
    Capacity,
    ClientMessage,
    Closing,
    Deliver,
    Ended,
    GetJob,
    Goodbye,
    Hello,
    Message,
    Ping,
    Pong,
    Refusal,
    Resume,
    Resumed,
    Role,
    Settle,
    Settled,
    Submit,
    Submitted,
    Wait,
    Watch,
    Welcome,
    WorkerDied,
)

JOB = bytes(16)


def hello(role: Role) -> Hello:
    return Hello(1, 1, role, bytes(16))


def welcome(fresh: bool) -> Welcome:
    return Welcome(1, 1, fresh, b"", 1, 1, 10_000)


def broker_after(*messages: Message) -> Conversation:
    """A broker's side of a conversation in which these were said."""
    conversation = Conversation(Side.BROKER)
    for message in messages:
        if isinstance(message, get_args(ClientMessage)):
            conversation.received(message)
        else:
            conversation.sent(message)
    return conversation


CLIENT = (hello(Role.CLIENT), welcome(True))
FRESH_WORKER = (hello(Role.WORKER), welcome(True))
KNOWN_WORKER = (hello(Role.WORKER), welcome(False))
HEARTBEAT = (hello(Role.HEARTBEAT), welcome(False))


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ((), State.EXPECT_HELLO),
        ((Ping(), Pong()), State.EXPECT_HELLO),
        (CLIENT[:1], State.HELLO_CLIENT),
        (CLIENT, State.CLIENT),
        ((*CLIENT, Submit(1, []), Submitted(1, 1), Wait([JOB]), Ended([]), Watch()), State.CLIENT),
        (FRESH_WORKER[:1], State.HELLO_WORKER),
        (FRESH_WORKER, State.WORKER_FRESH),
        ((*FRESH_WORKER, Capacity(1)), State.WORKER),
        ((*FRESH_WORKER, Resume(1), Resumed(1), Capacity(1)), State.WORKER),
        (KNOWN_WORKER, State.WORKER_RESUMING),
        ((*KNOWN_WORKER, Resume(1), Capacity(1), Resumed(1), Deliver([])), State.WORKER),
        ((*KNOWN_WORKER, Resume(1), Settle(2, []), Settled(2, 1)), State.WORKER),
        (HEARTBEAT[:1], State.HELLO_HEARTBEAT),
        ((*HEARTBEAT, Beat(), WorkerDied(), Goodbye()), State.LEAVING),
        ((*CLIENT, Submit(1, []), Goodbye(), Submitted(1, 1)), State.LEAVING),
        ((*CLIENT, Closing(), Submit(1, []), Refusal(1, "a", "b")), State.CLIENT),
        ((hello(Role.CLIENT), Refusal(0, "protocol_version", "no")), State.CLOSED),
        ((hello(Role.CLIENT), Goodbye(), welcome(True)), State.LEAVING),
    ],
)
def test_an_honest_conversation_is_never_refused(said: tuple[Message, ...], state: State) -> None:
    assert broker_after(*said).state is state


@pytest.mark.parametrize(
    ("said", "message", "sentence"),
    [
        ((), Submit(1, []), "Submit is not allowed before Hello"),
        ((), Goodbye(), "Goodbye is not allowed before Hello"),
        (CLIENT[:1], Submit(1, []), "Submit is not allowed between a client's Hello and its Welcome"),
        (CLIENT, CLIENT[0], "Hello is not allowed on a client's connection"),
        (CLIENT, Settle(1, []), "Settle is not allowed on a client's connection"),
        (CLIENT, Capacity(1), "Capacity is not allowed on a client's connection"),
        (CLIENT, Beat(), "Beat is not allowed on a client's connection"),
        (FRESH_WORKER, Settle(1, []), "Settle is not allowed on a new worker's connection before Capacity or Resume"),
        (KNOWN_WORKER, Capacity(1), "Capacity is not allowed on a returning worker's connection before Resume"),
        ((*KNOWN_WORKER, Resume(1)), Resume(2), "Resume is not allowed on a worker's connection"),
        ((*FRESH_WORKER, Capacity(1)), Submit(1, []), "Submit is not allowed on a worker's connection"),
        (HEARTBEAT, Settle(1, []), "Settle is not allowed on a heartbeat connection"),
        (HEARTBEAT, Submit(1, []), "Submit is not allowed on a heartbeat connection"),
        ((*CLIENT, Goodbye()), Submit(1, []), "Submit is not allowed after Goodbye"),
        ((*CLIENT, Refusal(0, "a", "b")), Ping(), "Ping is not allowed after the connection was refused"),
    ],
)
def test_what_has_no_row_is_refused_and_named(said: tuple[Message, ...], message: Message, sentence: str) -> None:
    conversation = broker_after(*said)
    state = conversation.state
    with pytest.raises(UnexpectedMessage) as refused:
        conversation.received(message)
    assert str(refused.value) == sentence
    assert conversation.state is state


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ((), welcome(True)),
        (CLIENT, welcome(True)),
        (CLIENT, Deliver([])),
        (FRESH_WORKER, Deliver([])),
        (KNOWN_WORKER, Deliver([])),
        ((*FRESH_WORKER, Capacity(1)), Ended([])),
        (HEARTBEAT, Ended([])),
        ((hello(Role.CLIENT), Refusal(0, "a", "b")), Closing()),
    ],
)
def test_a_broker_finds_its_own_mistake_before_it_leaves(said: tuple[Message, ...], message: Message) -> None:
    with pytest.raises(UnexpectedMessage):
        broker_after(*said).sent(message)


@pytest.mark.parametrize("number", [0, 4, 5])
def test_a_request_whose_number_does_not_rise_is_refused(number: int) -> None:
    conversation = broker_after(*CLIENT, Submit(5, []))
    with pytest.raises(UnexpectedMessage, match=f"with request {number} after request 5"):
        conversation.received(GetJob(number, JOB))
    conversation.received(GetJob(6, JOB))


def test_the_first_request_has_a_number_above_zero() -> None:
    with pytest.raises(UnexpectedMessage, match="with request 0 after request 0"):
        broker_after(*CLIENT).received(Submit(0, []))


def test_a_resume_without_a_rising_number_leaves_the_worker_where_it_was() -> None:
    conversation = broker_after(*KNOWN_WORKER)
    with pytest.raises(UnexpectedMessage):
        conversation.received(Resume(0))
    assert conversation.state is State.WORKER_RESUMING


@pytest.mark.parametrize("answer", [Submitted(2, 1), Submitted(0, 1), Refusal(2, "a", "b")])
def test_an_answer_to_a_request_that_was_never_made_is_refused(answer: Message) -> None:
    conversation = Conversation(Side.CLIENT)
    conversation.sent(CLIENT[0])
    conversation.received(CLIENT[1])
    conversation.sent(Submit(1, []))
    with pytest.raises(UnexpectedMessage, match="which was never made"):
        conversation.received(answer)


@pytest.mark.parametrize("said", [CLIENT, FRESH_WORKER, KNOWN_WORKER, HEARTBEAT])
def test_the_peers_are_strangers_until_welcome(said: tuple[Message, ...]) -> None:
    assert not broker_after().welcomed
    assert not broker_after(*said[:1]).welcomed
    assert broker_after(*said).welcomed


def test_both_sides_walk_the_same_states() -> None:
    said = (*KNOWN_WORKER, Resume(1), Resumed(1), Capacity(1), Deliver([]), Settle(2, []), Settled(2, 1), Goodbye())
    client, broker = Conversation(Side.CLIENT), Conversation(Side.BROKER)
    for message in said:
        if isinstance(message, get_args(ClientMessage)):
            client.sent(message)
            broker.received(message)
        else:
            broker.sent(message)
            client.received(message)
        assert client.state is broker.state


def test_every_state_has_its_rows_and_every_message_is_allowed_somewhere() -> None:
    assert set(CLIENT_SAYS) == set(BROKER_SAYS) == set(State)
    assert {kind for row in CLIENT_SAYS.values() for kind in row} == set(get_args(ClientMessage))
    assert {kind for row in BROKER_SAYS.values() for kind in row} == set(get_args(BrokerMessage))


STEPS = [
    (CLIENT_SAYS, State.HELLO_CLIENT, State.CLIENT),
    (CLIENT_SAYS, State.HELLO_WORKER, State.WORKER_FRESH),
    (CLIENT_SAYS, State.HELLO_WORKER, State.WORKER_RESUMING),
    (CLIENT_SAYS, State.HELLO_HEARTBEAT, State.HEARTBEAT),
    (BROKER_SAYS, State.EXPECT_HELLO, State.HELLO_CLIENT),
    (BROKER_SAYS, State.WORKER_FRESH, State.WORKER),
    (BROKER_SAYS, State.WORKER_RESUMING, State.WORKER),
    *[(BROKER_SAYS, state, State.LEAVING) for state in State if state not in (State.LEAVING, State.CLOSED)],
]


@pytest.mark.parametrize(("table", "before", "after"), STEPS)
def test_what_was_on_its_way_when_the_other_side_moved_on_is_still_allowed(
    table: dict[State, dict[type, object]], before: State, after: State
) -> None:
    """The other side's message made the step; what this side had said before it arrives after it."""
    assert set(table[before]) <= set(table[after])
