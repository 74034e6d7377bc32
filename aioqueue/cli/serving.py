"""A listening broker from its first breath to its last: what `aioqueue serve` runs."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, NamedTuple

import anyio
from anyio.abc import TaskGroup

from aioqueue.archive.base import KeepRule
from aioqueue.broker.broker import Broker
from aioqueue.broker.opening import open_broker
from aioqueue.broker.storage import JournalBounds
from aioqueue.cli.collector import keep_frozen, uncollected
from aioqueue.cli.manager import Manager, manager
from aioqueue.cli.outcome import out, say
from aioqueue.client.documents import json_text
from aioqueue.core.admission import BacklogLimits
from aioqueue.errors import AioqueueError, BadOption
from aioqueue.ground import Ground
from aioqueue.limits import (
    SESSION_TTL_MS_MIN,
)
from aioqueue.model.durations import to_ms
from aioqueue.model.sizes import count_text, size_text, to_bytes
from aioqueue.transport.address import MemoryAddress, SqliteAddress, parse_address
from aioqueue.transport.files import AcceptFailures, raise_file_limit
from aioqueue.transport.tcp import TcpListener, listen
from aioqueue.transport.unix import listening_beside

log = logging.getLogger(__name__)

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Place(NamedTuple):
    """Where a broker listens and keeps its journal, and its limits."""

    host: str
    port: int
    address: SqliteAddress | MemoryAddress
    session_ttl_ms: int
    limits: BacklogLimits
    disk_reserve: int
    body_cache: int
    keep: KeepRule
    bounds: JournalBounds
    must_exist: bool = False


def journal_address(url: str, *, must_exist: bool) -> SqliteAddress | MemoryAddress:
    """Where `--journal` says that jobs are kept. Raises `BadUrl` or `BadOption`."""
    if ":" not in url:
        raise BadOption(option="journal", value=url, reason=f"write sqlite:{url}, or memory: to keep nothing")
    address = parse_address(url)
    if not isinstance(address, SqliteAddress | MemoryAddress):
        raise BadOption(option="journal", value=url, reason="it must be sqlite:PATH, or memory: to keep nothing")
    if must_exist and isinstance(address, MemoryAddress):
        raise BadOption(option="must-exist", value=True, reason="memory: has no journal that could be there")
    return address


def session_ttl_of(text: str) -> int:
    """What `--session-ttl` says, in milliseconds. Raises `BadOption`."""
    session_ttl_ms = to_ms(text, option="session-ttl")
    if session_ttl_ms < SESSION_TTL_MS_MIN:
        raise BadOption(option="session-ttl", value=text, reason=f"it must be at least {SESSION_TTL_MS_MIN} ms")
    return session_ttl_ms


def at_least(bytes_min: int, text: str, *, option: str) -> int:
    """What a size of so much or more says, in bytes. Raises `BadOption`."""
    size = to_bytes(text, option=option)
    if size < bytes_min:
        raise BadOption(option=option, value=text, reason=f"it must be at least {size_text(bytes_min)}")
    return size


async def serve_until_stopped(place: Place, *, json: bool = False) -> None:
    """Open the journal, listen, print one line, and serve until SIGTERM or SIGINT; a second signal ends at once.

    Stopping in good order takes no more connections, tells the connected ones, and archives what was acknowledged.
    Raises `PortTaken`, and the journal's errors at the beginning as well as later.
    """
    raise_file_limit()
    asyncio.get_running_loop().set_exception_handler(AcceptFailures())
    stopping = _Stopping()
    service = manager()
    failure: AioqueueError | None = None
    async with service.watched(), anyio.create_task_group() as connections:
        try:
            with stopping.scope:
                await _serve(place, stopping, connections, json, service)
        except* AioqueueError as group:
            failure = _first(group)
        # The broker has told and closed every connection; what is left of them ends here.
        connections.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _serve(place: Place, stopping: _Stopping, connections: TaskGroup, json: bool, service: Manager) -> None:
    if place.port:
        # A taken port is told before a journal is made or replayed. Nobody finds the port open until that is done.
        await (await listen(place.host, place.port)).aclose()
    opening = open_broker(
        place.address,
        ground=Ground(),
        session_ttl_ms=place.session_ttl_ms,
        limits=place.limits,
        disk_reserve=place.disk_reserve,
        keep=place.keep,
        bounds=place.bounds,
        body_cache_bytes=place.body_cache,
        must_exist=place.must_exist,
    )
    async with AsyncExitStack() as stack:
        with uncollected():
            broker = await stack.enter_async_context(opening)
        if broker.created:
            # A path that was typed wrong, or a volume that is not mounted, looks like this.
            log.warning("created a new journal at %s, for there was none; --must-exist refuses that", broker.created)
        await stack.enter_async_context(_beside(place.address, broker, connections))
        broker.log_failures()
        broker.spawn(keep_frozen, lambda: len(broker.engine.partition.state.jobs))
        listener = await listen(place.host, place.port)
        async with anyio.create_task_group() as accepting:
            accepting.start_soon(listener.serve, broker.attend, connections)
            try:
                _tell_ready(broker, listener, str(place.address), json)
                service.ready()
                await stopping.wait()
                service.stopping()
            finally:
                await listener.aclose()
        log.info("stopping")
    log.info("stopped")


@asynccontextmanager
async def _beside(
    address: SqliteAddress | MemoryAddress, broker: Broker, connections: TaskGroup
) -> AsyncIterator[None]:
    """Let queues of this machine that name the journal find the broker, too."""
    async with AsyncExitStack() as stack:
        if isinstance(address, SqliteAddress):
            sharing = listening_beside(_real_path(address), broker.attend, connections, serves=True)
            await stack.enter_async_context(sharing)
        yield


def _real_path(address: SqliteAddress) -> str:
    return os.path.realpath(address.path)


def _first(group: BaseExceptionGroup[AioqueueError]) -> AioqueueError:
    first = group.exceptions[0]
    return first if isinstance(first, AioqueueError) else _first(first)


def _tell_ready(broker: Broker, listener: TcpListener, journal: str, json: bool) -> None:
    jobs = len(broker.engine.partition.state.jobs)
    if not _is_loopback(listener.host):
        say(
            f"warning: listening on {listener.host}: whoever reaches port {listener.port} can submit, cancel and run "
            "the tasks; let only trusted machines reach it"
        )
    if json:
        ready = {
            "url": listener.url,
            "host": listener.host,
            "port": listener.port,
            "journal": journal,
            "jobs": jobs,
            "pid": os.getpid(),
        }
        out(json_text(ready))
    else:
        out(f"listening on {listener.url}, journal {journal}, {count_text(jobs, 'job')}")


class _Stopping:
    """The wish to stop, by signal. Before the broker listens it cancels the opening; a second one ends the process."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self._wish = asyncio.Event()
        self._served = False
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._signalled, number)

    async def wait(self) -> None:
        """Until somebody wants the broker to stop."""
        self._served = True
        await self._wish.wait()

    def _signalled(self, number: int) -> None:
        if self._wish.is_set():
            # What was acknowledged is durable, so there is nothing to lose.
            os._exit(128 + number)
        self._wish.set()
        if not self._served:
            self.scope.cancel()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
