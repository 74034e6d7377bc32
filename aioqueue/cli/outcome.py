"""How a command ends: its exit code, and the one sentence on stderr that tells why.

| code | meaning |
|---|---|
| 0 | done |
| 1 | refused, nobody answered, or damage was found; the sentence says what |
| 2 | the command line itself is wrong |
| 3 | `submit --wait`: the job ended without a result |
| 130 | interrupted by Ctrl-C |
| 141 | whoever read the output went away |
"""

from __future__ import annotations

import io
import os
import sys
from typing import Final

from aioqueue.monitor.text import plain

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
JOB_FAILED: Final = 3
INTERRUPTED: Final = 130
READER_GONE: Final = 141


def say(sentence: object) -> None:
    """Put one line on stderr, whatever the sentence holds."""
    print(f"aioqueue: {plain(str(sentence))}", file=sys.stderr, flush=True)


def not_made(path: str, error: OSError) -> str:
    """Why there is no file at `path`, and what helps."""
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        return f"the folder {folder} does not exist; make it first"
    return f"{path} cannot be written: {error.strerror}"


def out(text: str) -> None:
    """Put text on stdout at once: it is often a pipe, and its reader wants to go on."""
    print(text, flush=True)


def prepare_output() -> None:
    """Make stdout and stderr such that printing to them cannot fail by what is printed."""
    if sys.stdout is None:
        # A service manager may have closed them.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding lacks is no reason to fail.
            stream.reconfigure(errors="backslashreplace")


def drop_output() -> None:
    """Nobody takes stdout any more; let the interpreter's own last flush go nowhere."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, sys.stdout.fileno())
    os.close(descriptor)
