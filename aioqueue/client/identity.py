"""What a process tells of itself in every Hello: an identity of its own, and what runs there.

A broker that serves many connections sees by it which of them come from one process. It proves nothing, and is no
secret: what a session may do hangs on its secret alone. Asked by whoever says Hello, `Link` and `Heartbeat`.
"""

from __future__ import annotations

import os
from typing import Final

from aioqueue.forked import in_child
from aioqueue.ground import Ground
from aioqueue.limits import PROCESS_ID_BYTES
from aioqueue.model.bodies import pack_headers
from aioqueue.model.version import APP_VERSION, VERSION

# Which version of the app this is, where somebody says so: errors name the workers of a deploy by it.
APP_VERSION_VARIABLE: Final = "AIOQUEUE_APP_VERSION"
# All of what a process says of itself has a bound, and a commit's hash or a date is much shorter.
_APP_VERSION_CHARACTERS_MAX: Final = 100


class ProcessIdentity:
    """`id` is the same for as long as the process lives; a process that is forked from it has another one."""

    __slots__ = ("__weakref__", "_ground", "about", "id")

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.about: bytes = _about_this()
        self.id: bytes = b""
        self.renew()

    def renew(self) -> None:
        """This is another process from here on."""
        self.id = self._ground.random(PROCESS_ID_BYTES)


def _about_this() -> bytes:
    about = {"version": VERSION}
    if version := os.environ.get(APP_VERSION_VARIABLE, ""):
        about[APP_VERSION] = version[:_APP_VERSION_CHARACTERS_MAX]
    return pack_headers(about)


THIS_PROCESS: Final = ProcessIdentity(Ground())
in_child(THIS_PROCESS, ProcessIdentity.renew)
