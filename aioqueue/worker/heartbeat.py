"""Heartbeats on a second connection of a session, from a thread with a socket of its own.

An event loop that a task blocks cannot say that its process lives. So the supervisor of a worker process, or a thread
in an app that embeds a worker, beats for it: three times a `session_ttl`, over a connection that it makes again
whenever it is lost. It also tells of a process that died, so that its jobs need not wait for the session to expire, and
says so until the broker has it on record.

The thread waits in `select` for the socket and for its owner, and owns nothing that the event loop uses.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
from collections.abc import Sequence
from typing import Final, Self

from aioqueue.client.link import chance_of, reconnect_seconds
from aioqueue.errors import AioqueueError, ConnectionLost, from_wire
from aioqueue.forked import close_in_child
from aioqueue.ground import Ground
from aioqueue.limits import CONNECT_SECONDS, FRAME_BYTES_MAX, HEARTBEATS_A_TTL, READ_BYTES
from aioqueue.protocol.codec import Codec
from aioqueue.protocol.conversation import Conversation, Side
from aioqueue.protocol.frames import FrameReader
from aioqueue.protocol.messages import (
    PROTOCOL_VERSION,
    PROTOCOL_VERSION_MIN,
    ClientMessage,
    Hello,
    Ping,
    Pong,
    Refusal,
    Role,
    Welcome,
    WorkerDied,
)
from aioqueue.transport.dialer import Dialer
from aioqueue.worker.pulse import Pulse, Vitals

_log = logging.getLogger(__name__)
_CODEC = Codec()
_NS_A_MS: Final = 1_000_000
_REASON_CHARACTERS_MAX: Final = 4_096
# A broker that is back has given all sessions a whole ttl, so an end is worth telling for as long as restarts may take.
_END_NS_MAX: Final = 300_000 * _NS_A_MS
_LONG_SECONDS: Final = 3_600.0
# Which Pong says that an end is recorded; pings have 0.
_RECORDED: Final = 1


class Heartbeat:
    """Beats for one session until `stop`, or until its end has been told. `process` and `about` are the worker's."""

    def __init__(
        self, dialer: Dialer, secret: bytes, *, namespace: str, name: str, ground: Ground, process: bytes, about: bytes
    ) -> None:
        self._ground = ground
        self._dialer = dialer
        self._url = dialer.url
        self._hello = Hello(
            PROTOCOL_VERSION_MIN, PROTOCOL_VERSION, Role.HEARTBEAT, secret, namespace, name,
            about=about, process=process,
        )  # fmt: skip
        self._vitals = Vitals(ground.mono_ns)
        self._stopping = False
        self._leaving = False
        self._paused = False
        # A connection that outlived one heartbeat was a good one: the next wait is short again.
        self._proved = False
        # Whether the broker has said Welcome over this connection.
        self._greeted = False
        self._told_trouble = ""
        self._end: WorkerDied | None = None
        self._give_up_ns = 0
        # Whether the broker has it on record.
        self._told = False
        self._waking: socket.socket | None = None
        self._woken: socket.socket
        # A program that ends without stopping its worker must not wait for this thread.
        self._thread = threading.Thread(target=self._run, name=f"aioqueue heartbeat to {self._url}", daemon=True)

    def start(self) -> None:
        """Begin to beat. May be called once."""
        self._waking, self._woken = socket.socketpair()
        # Whoever wakes must not wait; with the buffer full, the thread has enough to wake up for.
        self._waking.setblocking(False)
        self._thread.start()

    def feel(self, pulse: Pulse) -> None:
        """Let the beats tell how the worker's event loop fares; a block that began or ended is told at once.

        Any thread may call this, but one at a time.
        """
        if self._vitals.feel(pulse):
            self._wake()

    def rest(self, left: Sequence[bytes]) -> None:
        """The worker has stopped and left runs of these jobs behind: go on for them alone, until `farewell`."""
        self._vitals.rest(left)

    def stop(self) -> None:
        """Beat no more. Any thread may call this, at any time and more than once."""
        self._stopping = True
        self._wake()

    def leaving(self) -> None:
        """The worker is about to say goodbye: that the broker closes this connection then is no news."""
        self._leaving = True

    def pause(self, paused: bool) -> None:
        """Say nothing for the session, and have no connection, until this is called again; an end is told all the same.

        Any thread may call this.
        """
        self._paused = paused
        self._wake()

    def died(self, reason: str) -> None:
        """Tell the broker that the worker's process is gone, and beat no more; tried for some minutes."""
        self._tell(WorkerDied(reason[:_REASON_CHARACTERS_MAX], _RECORDED))

    def farewell(self) -> None:
        """The same of a worker that left in good order, once the last that it ran is over: what it holds is given back.

        Any thread may call this, and that of the event loop.
        """
        self._tell(WorkerDied("", _RECORDED, leaving=True))

    def _tell(self, end: WorkerDied) -> None:
        self._give_up_ns = self._ground.mono_ns() + _END_NS_MAX
        self._end = end
        self._wake()

    @property
    def owes(self) -> bool:
        """Whether a farewell was to be told, and is not on record."""
        return self._end is not None and self._end.leaving and not self._told

    def join(self, seconds: float) -> bool:
        """Wait until the thread has ended, for at most so long; whether it has."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def _wake(self) -> None:
        if self._waking is not None:
            # The thread may have ended.
            with contextlib.suppress(OSError):
                self._waking.send(b"\0")

    # --- the thread ---

    def _run(self) -> None:
        failures = 0
        try:
            while not self._over():
                if self._paused and self._end is None:
                    self._sleep(_LONG_SECONDS)
                    continue
                self._proved = self._greeted = False
                try:
                    if self._connect_and_serve():
                        return
                except (OSError, AioqueueError) as error:
                    if self._leaving and self._end is None:
                        return
                    # A connection that stood is made again before anybody is told: in a clean stop the word that the
                    # worker leaves may come here after the end of its session.
                    if str(error) != self._told_trouble and not (self._greeted and failures == 0):
                        self._told_trouble = str(error)
                        _log.warning("heartbeats do not reach the broker: %s; trying again", error)
                failures = 0 if self._proved else failures + 1
                self._sleep(reconnect_seconds(failures, chance_of(self._ground)))
        finally:
            self._woken.close()
            if self._waking is not None:
                self._waking.close()

    def _connect_and_serve(self) -> bool:
        with (
            self._dialer.open_socket() as connection,
            _Wire(self._url, connection, self._woken, self._ground) as wire,
        ):
            wire.greet(self._hello)
            self._greeted = True
            # What fails after this is news again.
            self._told_trouble = ""
            return self._serve(wire)

    def _sleep(self, seconds: float) -> None:
        # A timeout of 0 would be none.
        self._woken.settimeout(max(seconds, 0.001))
        with contextlib.suppress(TimeoutError):
            self._woken.recv(READ_BYTES)

    def _over(self) -> bool:
        return self._stopping or (self._end is not None and self._ground.mono_ns() > self._give_up_ns)

    def _called_off(self) -> bool:
        return self._stopping or self._paused or self._end is not None

    def _serve(self, wire: _Wire) -> bool:
        """Beat on one connection; True when there is nothing more to do. Raises when the connection is lost."""
        silent = 0
        while not self._stopping:
            if self._end is not None:
                if wire.tell(self._end):
                    self._told = True
                    return True
                continue
            if self._paused:
                return False
            wire.send(self._vitals.beat(self._ground.mono_ns()), Ping())
            next_ns = self._ground.mono_ns() + wire.session_ttl_ms * _NS_A_MS // HEARTBEATS_A_TTL
            wire.heard = False
            while not wire.listen(next_ns):
                # News of the event loop never put off the next ping, or a broker's silence would not be noticed.
                if self._called_off():
                    # The silence was cut short, so it proves nothing.
                    wire.heard = True
                    break
                wire.send(self._vitals.beat(self._ground.mono_ns()))
            self._proved = True
            silent = 0 if wire.heard else silent + 1
            if silent == HEARTBEATS_A_TTL:
                # No end of a session is like that: people are told at once.
                self._greeted = False
                raise ConnectionLost(url=self._url, reason="the broker says nothing")
        return True


class _Wire:
    """One connection, read and written by blocking calls. All of it raises `OSError` or `AioqueueError`."""

    def __init__(self, url: str, connection: socket.socket, woken: socket.socket, ground: Ground) -> None:
        self._mono_ns = ground.mono_ns
        self._url = url
        close_in_child(self, connection.fileno())
        self._socket = connection
        self._woken = woken
        self._reader = FrameReader(FRAME_BYTES_MAX)
        self._conversation = Conversation(Side.CLIENT)
        self.session_ttl_ms = 0
        self.heard = True
        self.recorded = False
        # Not `select`, which knows no file numbers above 1023.
        self._selector = selectors.DefaultSelector()
        self._selector.register(connection, selectors.EVENT_READ)
        self._selector.register(woken, selectors.EVENT_READ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self._selector.close()

    def greet(self, hello: Hello) -> None:
        """Say Hello and wait for Welcome."""
        self.send(hello)
        while not self.session_ttl_ms:
            self._receive()

    def send(self, *messages: ClientMessage) -> None:
        """Hand the messages to the system."""
        buffer = bytearray()
        for message in messages:
            self._conversation.sent(message)
            _CODEC.encode_into(message, buffer)
        self._socket.sendall(buffer)

    def tell(self, end: WorkerDied) -> bool:
        """Send it and wait until the broker has recorded it; one that only read it may be killed before that.

        False if the owner had something to say before. A connection that is closed meanwhile, even in good order,
        proves nothing.
        """
        self.send(end)
        if not self.listen(self._mono_ns() + int(CONNECT_SECONDS * 1e9)):
            return False
        if not self.recorded:
            raise ConnectionLost(url=self._url, reason="the broker says nothing")
        return True

    def listen(self, end_ns: int) -> bool:
        """Answer the broker until then, or until it recorded an end; False once the owner has something to say."""
        while (left_ns := end_ns - self._mono_ns()) > 0 and not self.recorded:
            for key, _ in self._selector.select(left_ns / 1e9):
                if key.fileobj is self._socket:
                    self._receive()
                else:
                    self._woken.recv(READ_BYTES)
                    return False
        return True

    def _receive(self) -> None:
        data = self._socket.recv(READ_BYTES)
        if not data:
            raise ConnectionLost(url=self._url, reason="the broker closed the connection")
        for payload in self._reader.feed(data):
            message = _CODEC.decode_broker(payload)
            self._conversation.received(message)
            if isinstance(message, Refusal):
                raise from_wire(message.code, message.message, message.fields)
            if isinstance(message, Welcome):
                self.session_ttl_ms = message.session_ttl_ms
            elif isinstance(message, Ping):
                self.send(Pong(message.number))
            elif isinstance(message, Pong):
                self.heard = True
                self.recorded = message.number == _RECORDED
