"""The registry of tasks as lines of a table, or as one JSON array."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any, Final

from aioqueue.cli.outcome import DONE, FAILED, out, say
from aioqueue.client.described import Described
from aioqueue.client.documents import document, json_text
from aioqueue.client.queue import Queue
from aioqueue.clock import SystemClock
from aioqueue.errors import Refused
from aioqueue.model.registry import TaskDescription, unpack_description
from aioqueue.monitor.text import age, plain, short
from aioqueue.protocol.messages import TaskEntry

_HEADS: Final = ("TASK", "QUEUE", "PRIORITY", "ATTEMPTS", "TIMEOUT", "SEEN", "PARAMETERS")
_GAP: Final = "  "


async def list_tasks(queue: Queue, names: Sequence[str], *, json: bool) -> int:
    """Print them, and give the exit code. Raises `Unsupported` for a broker that has no registry."""
    async with queue:
        found = [entry async for entry in queue.session().questions.all_registered()]
    missing = sorted(set(names) - {entry.name for entry in found})
    shown = [entry for entry in found if not names or entry.name in names]
    if json:
        out(json_text([_document(entry) for entry in shown]))
    elif shown:
        _write_table(shown)
    if not found:
        # Alone, an empty list looks the same for a namespace that was mistyped.
        say(f"no worker has registered a task in namespace {queue.namespace}")
    elif missing:
        say(f"not registered in namespace {queue.namespace}: {', '.join(missing)}")
    return FAILED if missing else DONE


def _read(entry: TaskEntry) -> TaskDescription | None:
    """What it declares; None where a newer release says more of it than is known here."""
    try:
        return unpack_description(entry.name, entry.body)
    except Refused:
        return None


def _document(entry: TaskEntry) -> dict[str, Any]:
    description = _read(entry)
    told = {"name": entry.name, "used_ms": entry.used_ms, "digest": entry.digest.hex()}
    return told | ({} if description is None else document(description))


def _write_table(entries: Sequence[TaskEntry]) -> None:
    now_ms = SystemClock().now().wall_ms
    lines = [_HEADS, *(_row(entry, now_ms) for entry in entries)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    screen = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in lines:
        text = _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        sys.stdout.write(f"{short(text, screen) if screen else text}\n")
    sys.stdout.flush()


def _row(entry: TaskEntry, now_ms: int) -> tuple[str, ...]:
    seen = f"{age(max(0, now_ms - entry.used_ms))} ago"
    description = _read(entry)
    if description is None:
        return entry.name, "?", "?", "?", "?", seen, "declared by a newer release"
    timeout = age(description.timeout_ms) if description.timeout_ms else "-"
    visible = plain(str(Described(entry.name, description).visible))
    returns = f" -> {plain(description.returns)}" if description.returns else ""
    return (
        entry.name, description.queue, str(description.priority), str(description.retry.attempts), timeout, seen,
        f"{visible}{returns}",
    )  # fmt: skip
