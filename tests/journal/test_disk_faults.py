"""A disk that refuses: EIO and ENOSPC on real writes and syncs of appends and checkpoints, injected by strace.

The child tells each batch that was acknowledged to it on its output, outside the journal. When a call fails it must
stop for good, and whatever it was told must be there afterwards.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

import aioqueue
from aioqueue.journal.mark import read_mark
from tests.journal.killed import EVERYTHING

pytestmark = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.timeout(0 if EVERYTHING else 300),
]

# Small enough for a checkpoint after some forty appends of 100 kB: about one page in four is written by it.
SIZE = 100_000
# What to fail: the call, on which file, and which of them. An append of this size writes the log 50 times and syncs it
# once; a checkpoint syncs the log, writes the file some hundred times, and syncs it.
CASES = [
    ("fdatasync", "-wal", 3),
    ("fdatasync", "-wal", 4),
    ("fdatasync", "-wal", 9),
    ("pwrite64", "-wal", 30),
    ("pwrite64", "-wal", 31),
    ("pwrite64", "-wal", 200),
    ("pwrite64", "-wal", 777),
    ("fdatasync", "", 1),
    ("fdatasync", "", 2),
    ("pwrite64", "", 1),
    ("pwrite64", "", 5),
    ("pwrite64", "", 300),
]
if EVERYTHING:
    CASES += [("fdatasync", "-wal", number) for number in range(1, 60)]
    CASES += [("pwrite64", "-wal", number) for number in range(1, 600, 7)]
    CASES += [("pwrite64", "", number) for number in range(1, 600, 7)]


def strace() -> str:
    found = shutil.which("strace")
    if sys.platform != "linux" or found is None:
        pytest.skip("strace is not here to make calls fail (Debian: apt install strace)")
    return found


async def starved(path: Path, call: str, suffix: str, number: int, error: str) -> list[str]:
    """What a child says that appends until the call fails on the file; it cannot be traced where that is forbidden."""
    program = [
        strace(), "-f", "-qq", "-o", os.devnull, "--seccomp-bpf", "-e", f"trace={call}", "-P", f"{path}{suffix}",
        "-e", f"inject={call}:error={error}:when={number}",
        sys.executable, str(Path(__file__).with_name("child.py")), "starve", str(path), str(SIZE), str(1 << 40),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(aioqueue.__file__).parents[1])}
    child = await asyncio.create_subprocess_exec(
        *program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment
    )
    try:
        output, errors = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if b"PTRACE" in errors or b"Operation not permitted" in errors:
        pytest.skip("this machine lets nobody trace a process")
    assert child.returncode == 0, errors
    return output.decode().splitlines()


@pytest.mark.parametrize(
    ("call", "suffix", "number", "error"),
    [(*case, "EIO") for case in CASES] + [(*case, "ENOSPC") for case in (CASES if EVERYTHING else CASES[1::2])],
)
async def test_a_call_that_fails_ends_the_journal_and_nothing_acknowledged_is_lost(
    place, collect, call, suffix, number, error
):
    # The journal is made beforehand: the calls that are counted are those of the appends.
    await (await place.open()).aclose()
    *durable, failed, first, second, third, fourth, closed = await starved(place.path, call, suffix, number, error)
    assert failed.startswith(("failed append_unknown", "failed journal_failed"))
    assert {first, second, third, fourth} == {"then journal_failed"}
    assert closed == "closed"
    told = dict(line.split()[1:] for line in durable)
    assert all(line.startswith("durable ") for line in durable)
    mark = read_mark(str(place.path))
    assert mark.position == max((int(position) for position in told), default=1)
    found = {str(batch.position): batch.batch_id.hex() for batch in await collect(await place.open())}
    assert told.items() <= found.items()


async def test_a_mark_that_cannot_be_written_stops_nobody(place, collect):
    await (await place.open()).aclose()
    # The mark fails at its third write and is given up; the log fails much later.
    path = place.path
    program = [
        strace(), "-f", "-qq", "-o", os.devnull, "-P", f"{path}.mark", "-e", "trace=pwrite64",
        "-e", "inject=pwrite64:error=EIO:when=3+",
        sys.executable, str(Path(__file__).with_name("child.py")), "batches", str(path), *(["100"] * 5),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(aioqueue.__file__).parents[1])}
    child = await asyncio.create_subprocess_exec(
        *program, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, env=environment,
    )  # fmt: skip
    output, errors = await child.communicate()
    if b"PTRACE" in errors or b"Operation not permitted" in errors:
        pytest.skip("this machine lets nobody trace a process")
    told = [int(line.split()[0]) for line in output.splitlines()]
    assert told == [1, 2, 3, 4, 5, 6]
    assert read_mark(str(path)).position == 2
    assert b"is not kept any more" in errors
    assert len(await collect(await place.open())) == 6
