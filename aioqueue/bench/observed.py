"""`python -m aioqueue.bench.observed FILE ARGUMENTS...` is `aioqueue ARGUMENTS...`, with an eye on Python's collector.

At its end FILE has the longest time, in milliseconds, for which a collection made everything else stand still: of the
processor, so that a busy machine does not count.
"""

from __future__ import annotations

import atexit
import gc
import runpy
import sys
import time
from pathlib import Path
from typing import Any


class Pauses:
    """The longest so far."""

    def __init__(self) -> None:
        self.longest_ns = 0
        self._began_ns = 0

    def observe(self, phase: str, info: dict[str, Any]) -> None:
        """As `gc.callbacks` calls it."""
        if phase == "start":
            self._began_ns = time.thread_time_ns()
        else:
            self.longest_ns = max(self.longest_ns, time.thread_time_ns() - self._began_ns)


def main() -> None:
    """Run the command line; the first argument is this program's own."""
    file = Path(sys.argv.pop(1))
    pauses = Pauses()
    gc.callbacks.append(pauses.observe)
    atexit.register(lambda: file.write_text(str(pauses.longest_ns / 1e6)))
    runpy.run_module("aioqueue", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
