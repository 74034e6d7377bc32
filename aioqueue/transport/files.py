"""Open files: as many as the system allows, and no noise where there are none left to accept a connection with."""

from __future__ import annotations

import asyncio
import errno
import logging
import sys
from typing import Any, Final

log = logging.getLogger(__name__)

_NO_FILES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def raise_file_limit() -> None:
    """Let this process open as many files as it may: the usual limit is 1,024, and each connection is one."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError) as error:
            # macOS says that there is no limit, and then refuses it.
            log.debug("the limit of open files stays %d: %s", soft, error)


class AcceptFailures:
    """A loop's exception handler: a connection that the system has no room for is told of once, not once a second.

    The loop itself stops accepting for a moment then; connections that stand go on.
    """

    def __init__(self) -> None:
        self._told = False

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _NO_FILES:
            loop.default_exception_handler(context)
        elif not self._told:
            self._told = True
            log.warning(
                "the system has no room for another connection (%s); raise its limits, such as ulimit -n", error
            )
