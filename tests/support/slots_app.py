"""A task in a process of its own that says when it has begun, and waits until it may go on."""

from __future__ import annotations

from pathlib import Path


def hold(begun: str, gate: str) -> str:
    """Write to one fifo, then read from another: whoever opens their other ends decides when each goes on."""
    Path(begun).write_text("begun")
    return Path(gate).read_text()
