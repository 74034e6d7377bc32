"""What ties a worker to the process around it: who beats for it, who listens, how it reaches the broker.

Said by a supervisor's child, by an embedded broker, and by tests. An app leaves it out: its worker then uses the
queue's connection and beats for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from aioqueue.errors import BadOption
from aioqueue.transport.dialer import Dials
from aioqueue.worker.pulse import Pulse

SECRET_BYTES: Final = 16


class Wiring(Struct, kw_only=True, frozen=True):
    """Raises `BadOption` for a secret of another length.

    `secret` is the session's, from a supervisor that beats for this process; without one, the worker beats from a
    thread of its own, save for a `memory:` broker. `dialer` is how it reaches the broker; by default as the queue
    does, which must then be entered. `on_pulse` is called a few times a second, in a thread, with how the event loop
    fares, for a supervisor to tell the broker; a worker that beats itself tells it too. `on_ready` is called
    once, when the broker has opened the session and was not yet told of any slots. `on_leaving` is called when it
    has stopped, with the number of ends of jobs that the broker did not take, and of those that run on all the same; a
    goodbye follows if there are none, else the owner of the `secret` gives them back. `began_ms` is when the program
    began, by the monotonic clock of this machine, where that was before the worker.
    """

    secret: bytes | None = None
    dialer: Dials | None = None
    on_pulse: Callable[[Pulse], None] | None = None
    on_ready: Callable[[], None] | None = None
    on_leaving: Callable[[int, int], None] | None = None
    began_ms: int = 0

    def __post_init__(self) -> None:
        if self.secret is not None and len(self.secret) != SECRET_BYTES:
            raise BadOption(option="secret", value="...", reason=f"it must be {SECRET_BYTES} bytes")


ALONE: Final = Wiring()
