"""Who may say what, when: the conversation of one connection as a table for each side.

`CLIENT_SAYS[state]` and `BROKER_SAYS[state]` give for each message what its being said does; a message without a row
is not allowed there. Both sides hold the same tables and walk them with what they send and what they receive, so a
mistake of this side is found before it leaves, and one of the peer before it does anything. The sides are never in
step: each table allows what may still be on its way. No clock, no sockets, no jobs.

    EXPECT_HELLO --Hello--> HELLO_CLIENT ----Welcome--------------> CLIENT --------------------+
                        |                                                                      |
                        +-> HELLO_WORKER ----Welcome(fresh)-------> WORKER_FRESH --Capacity--+ |
                        |               |                            |--Resume-----------+   | +--Goodbye--> LEAVING
                        |               +----Welcome(not fresh)---> WORKER_RESUMING -----+-> WORKER
                        |                                             Resume                 | |
                        +-> HELLO_HEARTBEAT -Welcome--------------> HEARTBEAT ---------------+-+

and a `Refusal` of request 0 leads from everywhere to CLOSED.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import Any, Final, NoReturn

from aioqueue.errors import UnexpectedMessage
from aioqueue.protocol.messages import (
    BackupPart,
    Beat,
    BulkCommit,
    BulkDrop,
    BulkStage,
    CancelJob,
    Cancelled,
    CancelRun,
    Capacity,
    Closing,
    ControlPage,
    Declare,
    Declared,
    Deliver,
    DescribeTasks,
    Ended,
    FindJobs,
    GetJob,
    Goodbye,
    Hello,
    JobPage,
    JobRecord,
    ListControl,
    Message,
    Ping,
    Pong,
    ReadBackup,
    Refusal,
    Requeued,
    Resume,
    Resumed,
    RetryJob,
    Role,
    Settle,
    Settled,
    StatisticsUpdate,
    Submit,
    SubmitAtomic,
    Submitted,
    Wait,
    Watch,
    Welcome,
    WorkerDied,
)


class Side(Enum):
    """Which end of the connection this is."""

    CLIENT = "client"
    BROKER = "broker"


class State(Enum):
    """Where a conversation stands; the value completes the sentence "... is not allowed"."""

    EXPECT_HELLO = "before Hello"
    HELLO_CLIENT = "between a client's Hello and its Welcome"
    HELLO_WORKER = "between a worker's Hello and its Welcome"
    HELLO_HEARTBEAT = "between a heartbeat's Hello and its Welcome"
    CLIENT = "on a client's connection"
    WORKER_FRESH = "on a new worker's connection before Capacity or Resume"
    WORKER_RESUMING = "on a returning worker's connection before Resume"
    WORKER = "on a worker's connection"
    HEARTBEAT = "on a heartbeat connection"
    LEAVING = "after Goodbye"
    CLOSED = "after the connection was refused"


class Does(IntEnum):
    """What a message does that leaves the state as it is, or whose effect depends on its fields."""

    STAY = 1
    # Carries a request number that must rise.
    ASK = 2
    # Carries the number of a request that was made.
    ANSWER = 3
    REFUSE = 4
    HELLO = 5
    WELCOME = 6
    RESUME = 7


Row = Mapping[type[Any], Does | State]

_ANY_SIDE: Final[Row] = {Ping: Does.STAY, Pong: Does.STAY}
_LIVING: Final[Row] = {**_ANY_SIDE, Goodbye: State.LEAVING}

CLIENT_SAYS: Final[Mapping[State, Row]] = {
    State.EXPECT_HELLO: {**_ANY_SIDE, Hello: Does.HELLO},
    # A stranger's frames are kept small until Welcome, so a client says nothing larger before it.
    State.HELLO_CLIENT: _LIVING,
    State.HELLO_WORKER: _LIVING,
    State.HELLO_HEARTBEAT: _LIVING,
    State.CLIENT: {
        **_LIVING,
        Submit: Does.ASK,
        SubmitAtomic: Does.ASK,
        BulkStage: Does.ASK,
        BulkCommit: Does.ASK,
        BulkDrop: Does.STAY,
        Wait: Does.STAY,
        GetJob: Does.ASK,
        FindJobs: Does.ASK,
        CancelJob: Does.ASK,
        RetryJob: Does.ASK,
        Watch: Does.STAY,
        ReadBackup: Does.ASK,
        ListControl: Does.ASK,
    },
    State.WORKER_FRESH: {
        **_LIVING,
        Resume: Does.RESUME,
        Declare: Does.ASK,
        DescribeTasks: Does.ASK,
        Capacity: State.WORKER,
    },
    State.WORKER_RESUMING: {**_LIVING, Resume: Does.RESUME},
    State.WORKER: {
        **_LIVING,
        Declare: Does.ASK,
        DescribeTasks: Does.ASK,
        Capacity: Does.STAY,
        Settle: Does.ASK,
    },
    State.HEARTBEAT: {**_LIVING, Beat: Does.STAY, WorkerDied: Does.STAY},
    State.LEAVING: {},
    State.CLOSED: {},
}

_BEGINNING: Final[Row] = {**_ANY_SIDE, Refusal: Does.REFUSE, Closing: Does.STAY}
_TO_CLIENTS: Final[Row] = {
    Submitted: Does.ANSWER,
    Ended: Does.STAY,
    JobRecord: Does.ANSWER,
    JobPage: Does.ANSWER,
    Cancelled: Does.ANSWER,
    Requeued: Does.ANSWER,
    StatisticsUpdate: Does.STAY,
    BackupPart: Does.ANSWER,
    ControlPage: Does.ANSWER,
}
_TO_WORKERS: Final[Row] = {
    Resumed: Does.ANSWER,
    Declared: Does.ANSWER,
    Deliver: Does.STAY,
    Settled: Does.ANSWER,
    CancelRun: Does.STAY,
}

BROKER_SAYS: Final[Mapping[State, Row]] = {
    State.EXPECT_HELLO: _BEGINNING,
    State.HELLO_CLIENT: {**_BEGINNING, Welcome: Does.WELCOME},
    State.HELLO_WORKER: {**_BEGINNING, Welcome: Does.WELCOME},
    State.HELLO_HEARTBEAT: {**_BEGINNING, Welcome: Does.WELCOME},
    State.CLIENT: {**_BEGINNING, **_TO_CLIENTS},
    State.WORKER_FRESH: {**_BEGINNING, Declared: Does.ANSWER},
    State.WORKER_RESUMING: _BEGINNING,
    State.WORKER: {**_BEGINNING, **_TO_WORKERS},
    State.HEARTBEAT: _BEGINNING,
    # What the broker said before it read the Goodbye is still on its way, to whichever role, Welcome included.
    State.LEAVING: {**_BEGINNING, Welcome: Does.STAY, **_TO_CLIENTS, **_TO_WORKERS},
    State.CLOSED: {},
}

AFTER_HELLO: Final[Mapping[Role, State]] = {
    Role.CLIENT: State.HELLO_CLIENT,
    Role.WORKER: State.HELLO_WORKER,
    Role.HEARTBEAT: State.HELLO_HEARTBEAT,
}
# By the state that waited, and whether the session is fresh.
AFTER_WELCOME: Final[Mapping[tuple[State, bool], State]] = {
    (State.HELLO_CLIENT, True): State.CLIENT,
    (State.HELLO_CLIENT, False): State.CLIENT,
    (State.HELLO_WORKER, True): State.WORKER_FRESH,
    (State.HELLO_WORKER, False): State.WORKER_RESUMING,
    (State.HELLO_HEARTBEAT, True): State.HEARTBEAT,
    (State.HELLO_HEARTBEAT, False): State.HEARTBEAT,
}
# Looking a member up in its enum costs 0.1 us on Python 3.11, and these three are compared for every message.
_STAY: Final = Does.STAY
_ASK: Final = Does.ASK
_ANSWER: Final = Does.ANSWER
_STRANGERS: Final = frozenset({State.EXPECT_HELLO, *AFTER_HELLO.values()})


class Conversation:
    """One connection's place in the tables.

    `received` and `sent` raise `UnexpectedMessage` for what is not allowed, and change nothing then. They cost one
    look-up for nearly every message.
    """

    __slots__ = ("_asked", "_broker_row", "_client_row", "_side", "received", "sent", "state")

    def __init__(self, side: Side) -> None:
        self._side = side
        # The highest request number said so far.
        self._asked = 0
        self._enter(State.EXPECT_HELLO)
        if side is Side.BROKER:
            self.received, self.sent = self._client_says, self._broker_says
        else:
            self.received, self.sent = self._broker_says, self._client_says

    @property
    def welcomed(self) -> bool:
        """Whether the peers know each other: only then do the full limits hold."""
        return self.state not in _STRANGERS

    def _enter(self, state: State) -> None:
        self.state = state
        self._client_row = CLIENT_SAYS[state]
        self._broker_row = BROKER_SAYS[state]

    def _client_says(self, message: Message) -> None:
        does = self._client_row.get(type(message))
        if does is _STAY:
            return
        if does is _ASK:
            self._ask(message)
        elif does is None:
            self._refuse(message, "")
        else:
            self._client_moves(does, message)

    def _client_moves(self, does: Does | State, message: Any) -> None:
        if does is Does.HELLO:
            self._enter(AFTER_HELLO[message.role])
        elif does is Does.RESUME:
            self._ask(message)
            self._enter(State.WORKER)
        else:
            assert isinstance(does, State)
            self._enter(does)

    def _broker_says(self, message: Message) -> None:
        does = self._broker_row.get(type(message))
        if does is _STAY:
            return
        if does is _ANSWER:
            self._answer(message)
        elif does is None:
            self._refuse(message, "")
        elif does is Does.WELCOME:
            self._welcome(message)
        else:
            self._refusal(message)

    def _ask(self, message: Any) -> None:
        number = message.request
        if number <= self._asked:
            self._refuse(message, f" with request {number} after request {self._asked}: the numbers must rise from 1")
        self._asked = number

    def _answer(self, message: Any) -> None:
        if not 0 < message.request <= self._asked:
            self._refuse(message, f" to request {message.request}, which was never made")

    def _welcome(self, message: Any) -> None:
        self._enter(AFTER_WELCOME[self.state, message.fresh])

    def _refusal(self, message: Any) -> None:
        if message.request == 0:
            self._enter(State.CLOSED)
        else:
            self._answer(message)

    def _refuse(self, message: Message, why: str) -> NoReturn:
        raise UnexpectedMessage(message=type(message).__name__, when=self.state.value + why)
