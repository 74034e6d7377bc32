"""One journal, several processes: the first owns it and serves the others, and one of those takes over when it is gone.

There is no election. Who gets the journal's lock owns the journal, and whoever does not connects to the socket beside
it. A link that loses its broker comes here for another connection, after a wait that chance spreads: it finds a new
owner, or becomes it. What was acknowledged is in the file, and what was not is said again by those who asked for it.

A broker of `aioqueue serve` is waited for, as one over TCP is: it is started again by whoever started it, and must find
its journal free then.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Final

from aioqueue.embedded.owning import EmbeddedBroker
from aioqueue.errors import BrokerUnavailable, JournalInUse, QueueClosed
from aioqueue.ground import Ground
from aioqueue.limits import OWNER_SECONDS
from aioqueue.transport.address import SqliteAddress
from aioqueue.transport.stream import Stream
from aioqueue.transport.unix import connect_beside

log = logging.getLogger(__name__)

# Between two looks at a journal whose owner has no socket yet: it begins, or it ends.
_LOOK_SECONDS: Final = 0.05


class SharedBroker:
    """The broker of one journal, wherever it is: a `Dials`. A `start` that failed leaves nothing open."""

    def __init__(self, address: SqliteAddress, ground: Ground) -> None:
        self._ground = ground
        # As it was written; what is opened is the file that it means now.
        self.url = str(address)
        # A program may change its directory later.
        self._address = SqliteAddress(os.path.realpath(address.path))
        self._own: EmbeddedBroker | None = None
        self._found_serve = False
        self._closed = False
        # The links of this process must not each take over.
        self._turn = asyncio.Lock()

    @property
    def owns(self) -> bool:
        """Whether the broker runs in this process."""
        return self._own is not None

    async def start(self) -> None:
        """Own the journal, or see that its owner answers.

        Raises what the journal raises; `JournalInUse` if it is held for `OWNER_SECONDS` by who does not answer.
        """
        end_ns = self._ground.mono_ns() + int(OWNER_SECONDS * 1e9)
        while True:
            try:
                return await self._become_owner()
            except JournalInUse as error:
                in_use = error
            try:
                return await (await self._connect()).aclose()
            except BrokerUnavailable as error:
                if self._ground.mono_ns() > end_ns:
                    raise _not_shared(in_use, error) from None
            await asyncio.sleep(_LOOK_SECONDS)

    async def open_stream(self) -> Stream:
        """A new connection to the broker, which is taken over if its owner is gone.

        Raises `BrokerUnavailable` while another process begins or ends to own the journal, what the journal raises,
        and `QueueClosed` after `aclose`.
        """
        async with self._turn:
            if self._closed:
                raise QueueClosed(what="a connection")
            if self._own is None:
                try:
                    return await self._connect()
                except BrokerUnavailable as error:
                    await self._take_over(error)
            assert self._own is not None
            return await self._own.open_stream()

    async def _connect(self) -> Stream:
        stream, self._found_serve = await connect_beside(self._address.path)
        return stream

    async def _take_over(self, absent: BrokerUnavailable) -> None:
        if self._found_serve:
            raise absent
        try:
            await self._become_owner()
        except JournalInUse as error:
            reason = f"process {error.fields.get('pid', 'unknown')} holds the journal and does not answer yet"
            raise BrokerUnavailable(url=str(self._address), reason=reason) from None
        log.info("the broker of %s is in this process now", self._address.path)

    async def _become_owner(self) -> None:
        broker = EmbeddedBroker(self._address, self._ground)
        await broker.start()
        self._own = broker

    async def aclose(self) -> None:
        """Let go of the journal, if it is held here; the other processes are told, and one of them takes over."""
        async with self._turn:
            self._closed = True
            if self._own is not None:
                await self._own.aclose()


def _not_shared(in_use: JournalInUse, absent: BrokerUnavailable) -> JournalInUse:
    fields = in_use.fields
    if "pid" not in fields:
        return in_use
    return JournalInUse(
        f"the journal {fields['path']} is held by process {fields['pid']} on {fields['host']}, "
        f"since {fields['since']}, which does not answer beside it ({absent.fields['reason']}); stop it first",
        **fields,
    )
