"""`Connects`: a queue's stay at its broker, from `async with queue` to its end.

Where the broker is in this process (`memory:`, `sqlite:`) entering the queue starts it, through the module that
`EMBEDDED` names: a program that talks TCP never loads it, nor SQLite. The other half of a `Queue`, what is asked over
the connection, is in `client.queue`.
"""

from __future__ import annotations

import importlib
from asyncio import AbstractEventLoop, _get_running_loop
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Final, Self

from aioqueue.client.declare import Declares
from aioqueue.client.ids import JobIds
from aioqueue.client.link import NOTHING_SEEN
from aioqueue.client.options import TaskOptions
from aioqueue.client.patience import Health, patience_of
from aioqueue.client.session import Session
from aioqueue.client.sources import Sources
from aioqueue.errors import BadOption, Forked, NotEntered, OtherLoop, Refused
from aioqueue.forked import end_loop_in_child, in_child
from aioqueue.ground import Ground
from aioqueue.limits import CONNECT_SECONDS, EMBEDDED_SLOTS, SLOTS_MAX
from aioqueue.model.durations import Duration, to_ms
from aioqueue.model.names import check_name
from aioqueue.transport.address import Address, MemoryAddress, TcpAddress, parse_address
from aioqueue.transport.dialer import Dialer, Dials

# By URL scheme: the module that runs a broker in this process.
EMBEDDED: Final = {"memory": "aioqueue.embedded", "sqlite": "aioqueue.embedded"}
_WORKER: Final = "aioqueue.worker"

# How queues dial. Who simulates a network puts another one here.
dialer_of: Callable[[Sequence[TcpAddress]], Dials] = Dialer
# What queues stand on, read when one is entered. Who simulates time or chance puts another one here.
ground_of: Callable[[], Ground] = Ground
# Who imports the program at the moment for nothing but its tasks, if anybody does: what it runs at its top would run
# once more, and a worker would wait for it.
importing = ""
# What the parent of this process has under way. It is never ended here, and so must not be collected either.
_of_parents: Final[list[object]] = []


class Connects(Declares):
    """The connecting side of a queue: a mixin, so that asking for the session costs no indirection.

    Raises `BadUrl`, `BadName` or `BadOption`.
    """

    def __init__(
        self,
        url: str | None,
        *,
        namespace: str,
        worker: bool | int | None,
        name: str,
        defaults: TaskOptions | None,
        timeout: Duration | None,
        lazy: bool,
    ) -> None:
        super().__init__(**(defaults or {}))
        self.namespace: str = check_name("namespace", namespace)
        self.name: str = check_name("client", name) if name else ""
        self._sources = Sources(url)
        # Of a queue that is entered.
        self._address: Address | None = None
        self._worker = _check_worker(worker)
        self._patience = patience_of(timeout)
        self._lazy = _check_lazy(lazy)
        self._ground: Ground | None = None
        # Items can be made without a broker, and then by the machine's own clock.
        self._ids = JobIds(self.namespace, Ground())
        self._session: Session | None = None
        self._journal_seen = NOTHING_SEEN
        self._dialer: Dials | None = None
        self._stack: AsyncExitStack | None = None
        # Whose the stay is; everything under way belongs to it.
        self._loop: AbstractEventLoop | None = None
        self._is_parents = False
        in_child(self, Connects._forked)

    def __repr__(self) -> str:
        return f"<Queue {self.url or 'without a broker'} of namespace {self.namespace}>"

    @property
    def url(self) -> str:
        """Where the broker is; empty as long as none is named anywhere. May be set while the queue is not entered, and
        then goes before the argument and the environment.
        """
        address = self._address or self._sources.found()
        return "" if address is None else str(address)

    @url.setter
    def url(self, url: str) -> None:
        if self._stack is not None:
            raise BadOption(option="url", value=url, reason="the queue is connected; leave `async with` first")
        self._sources.flag = parse_address(url)

    @property
    def worker(self) -> int | None:
        """How many jobs this process runs at once, 0 for none, None by the URL's own rule. May be set while the
        queue is not entered: a worker process says False, for it has a worker already.
        """
        return self._worker

    @worker.setter
    def worker(self, worker: bool | int | None) -> None:
        self._worker = _check_worker(worker)

    @property
    def address(self) -> Address:
        """The URL, taken apart. Raises `BadUrl` where no broker is named."""
        return self._address or self._sources.decided()

    @property
    def dialer(self) -> Dials:
        """Opens one more connection to the broker; for workers of this queue. Raises as `session` does."""
        if self._dialer is None:
            raise self._absent()
        self._check_loop()
        return self._dialer

    @property
    def ground(self) -> Ground:
        """What this queue stands on; for its workers too, whether it is entered or not."""
        return self._ground or ground_of()

    async def __aenter__(self) -> Self:
        """Connect, or start the broker that is embedded here. A `lazy` queue does that beside what comes next.

        Raises `BadUrl` when no broker is named, `BrokerUnavailable` when none answers within `CONNECT_SECONDS`, what a
        broker refuses the session with, and for an embedded one the errors of its journal; `OtherLoop` where another
        event loop has entered it.
        """
        if self._stack is not None:
            self._check_loop()
            raise BadOption(option="queue", value=self, reason="it is entered already; use the one that is open")
        if importing:
            reason = f'{importing} imports this program; let it begin under `if __name__ == "__main__":`'
            raise BadOption(option="queue", value=self, reason=reason)
        self._stack = stack = AsyncExitStack()
        self._loop, self._is_parents = _get_running_loop(), False
        end_loop_in_child(stack, self._loop)
        try:
            await self._enter(stack)
        except BaseException:
            await self._leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stack is not None:
            self._check_loop()
        await self._leave()

    async def _enter(self, stack: AsyncExitStack) -> None:
        self._address = address = self._sources.decided()
        slots = self._worker
        self._ground = ground = self.ground
        dialer: Dials
        if isinstance(address, TcpAddress):
            dialer = dialer_of([address])
        else:
            embedded = importlib.import_module(EMBEDDED[address.scheme])
            running = embedded.running(self, address, EMBEDDED_SLOTS if slots is None else slots, lazy=self._lazy)
            dialer = await stack.enter_async_context(running)
        self._dialer = dialer
        session = Session(
            dialer,
            ground=ground,
            namespace=self.namespace,
            name=self.name,
            journal_seen=self._journal_seen,
            patience=self._patience,
        )
        if self._lazy:
            session.start()
        else:
            await session.open(CONNECT_SECONDS)
        self._ids.stand_on(ground)
        self._session = session
        if isinstance(address, TcpAddress) and slots:
            worker = importlib.import_module(_WORKER).Worker(self, concurrency=slots)
            await stack.enter_async_context(worker)

    async def _leave(self) -> None:
        """Say goodbye, then stop what runs here; in this order, so that an embedded broker hears it."""
        session, self._session = self._session, None
        stack, self._stack = self._stack, None
        try:
            if session is not None:
                # A broker in memory is another one each time.
                forgets = isinstance(self._address, MemoryAddress)
                self._journal_seen = NOTHING_SEEN if forgets else session.link.journal_seen
                await session.aclose()
        finally:
            try:
                if stack is not None:
                    await stack.aclose()
            finally:
                self._dialer = self._ground = self._address = None

    def session(self) -> Session:
        """What is under way over the connection.

        Raises `NotEntered`, `OtherLoop` or `Forked` where it cannot be used, or what ended the session for good.
        """
        session = self._session
        if session is None:
            raise self._absent()
        # Any other loop would wait for ever, for what wakes it belongs to this one.
        if _get_running_loop() is not self._loop:
            raise OtherLoop
        if session.error is not None:
            session.check()
        return session

    def health(self) -> Health:
        """How the queue stands with its broker, without asking it: for a readiness route.

        Raises `NotEntered` or `Forked`.
        """
        if self._session is None:
            raise self._absent()
        return self._session.health()

    async def ready(self, timeout: Duration | None = None) -> None:
        """Wait until the broker is there, for so long at most; for a `lazy` queue, and after an outage.

        Raises `BrokerUnavailable` with the last reason, `NotEntered`, or what ended the session for good.
        """
        seconds = None if timeout is None else to_ms(timeout, option="timeout") / 1000
        await self.session().ready(seconds)

    def _check_loop(self) -> None:
        if _get_running_loop() is not self._loop:
            raise OtherLoop

    def _absent(self) -> Refused:
        return Forked() if self._is_parents else NotEntered()

    def _forked(self) -> None:
        """This process was forked: what was entered stays the parent's, and may be entered anew here."""
        if self._stack is not None:
            _of_parents.append((self._stack, self._session))
            self._stack = self._session = self._dialer = self._ground = self._address = self._loop = None
            self._is_parents = True

    def queues(self) -> tuple[str, ...]:
        """The lanes of all tasks declared here, and `default`."""
        return tuple(sorted({"default", *(task.queue for task in self.tasks)}))


def warning_of(queue: Connects) -> str:
    """What is to be said of an environment that names another broker than the queue's code, for commands."""
    return queue._sources.warning()


def _check_lazy(lazy: Any) -> bool:
    if not isinstance(lazy, bool):
        raise BadOption(option="lazy", value=lazy, reason="it must be True or False")
    return lazy


def _check_worker(worker: Any) -> int | None:
    """How many jobs run at once in this process; None leaves it to the kind of broker."""
    if worker is None or isinstance(worker, bool):
        return None if worker is None else EMBEDDED_SLOTS * worker
    if not isinstance(worker, int) or not 0 <= worker <= SLOTS_MAX:
        raise BadOption(option="worker", value=worker, reason=f"it must be True, False, None or 0 to {SLOTS_MAX}")
    return worker
