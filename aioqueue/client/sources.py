"""Where a queue's broker is named: by a flag, by the code, or by the environment, in this order.

The same holds for programs and for commands. What is named nowhere is refused when it is needed and not before, so
that a module can declare its tasks whoever imports it; the command line alone has a default, and brings it as a flag.
The environment is read as late, because a program may load it from a file after its imports.
"""

from __future__ import annotations

import logging
import os
from typing import Final

from aioqueue.errors import BadUrl
from aioqueue.transport.address import Address, parse_address

_log = logging.getLogger(__name__)

URL_VARIABLE: Final = "AIOQUEUE_URL"
_NOT_NAMED: Final = (
    "no broker is named: write Queue('memory:'), Queue('sqlite:jobs.db') or Queue('tcp://HOST:PORT'), or set "
    f"{URL_VARIABLE}"
)

# Of which addresses in code it was said that the environment loses: once in a process, whatever number of queues.
_said: set[Address] = set()


class Sources:
    """The sources of one queue. `code` is the argument of `Queue`, `flag` whatever was set later."""

    def __init__(self, code: str | None) -> None:
        """Raises `BadUrl` for a `code` that is no address."""
        self._code = parse_address(code) if code else None
        self.flag: Address | None = None

    def found(self) -> Address | None:
        """The address, or None where none is named. Raises `BadUrl` for an environment that names none rightly."""
        if self.flag is not None or self._code is not None:
            return self.flag or self._code
        named = os.environ.get(URL_VARIABLE)
        return parse_address(named) if named else None

    def decided(self) -> Address:
        """The address of a queue that is about to be used. Raises `BadUrl` where no broker is named."""
        address = self.found()
        if address is None:
            raise BadUrl(_NOT_NAMED, url="", reason="no broker is named")
        if warning := self.warning():
            _log.warning("%s", warning)
        return address

    def warning(self) -> str:
        """For this release, and once: that an environment which `worker` and `submit` obeyed has no say now."""
        named = os.environ.get(URL_VARIABLE)
        if self.flag is not None or self._code is None or not named or _same(named, self._code):
            return ""
        if self._code in _said:
            return ""
        _said.add(self._code)
        return (
            f"{URL_VARIABLE} is not used, because the code names another broker, {self._code}; until this release "
            "`aioqueue worker` and `aioqueue submit` preferred the variable. Give --url, or write Queue() to use it"
        )


def _same(named: str, address: Address) -> bool:
    try:
        return parse_address(named) == address
    except BadUrl:
        return False
