"""How a program with a broker of its own is left: by Ctrl-C twice, and before its file was opened."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aioqueue import Queue
from aioqueue.errors import NotAJournal
from tests.support.commands import environment

_PROGRAM = """
import asyncio, logging, signal, sys
from aioqueue import Queue

signal.signal(signal.SIGINT, signal.default_int_handler)
logging.basicConfig(level="INFO", stream=sys.stdout)
queue = Queue(sys.argv[1])

@queue.task(name="endless", retry=1)
async def endless():
    print("begun", flush=True)
    try:
        await asyncio.sleep(3600)
    finally:
        print("cleaned up", flush=True)

async def main():
    async with queue:
        await queue.run(endless)

asyncio.run(main())
"""


@pytest.mark.parametrize("scheme", ["memory:", "sqlite:jobs.db"])
async def test_a_second_ctrl_c_ends_a_program_whose_job_still_runs(tmp_path: Path, scheme: str) -> None:
    command = [sys.executable, "-c", _PROGRAM, scheme]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=tmp_path, env=environment()) as program:
        assert program.stdout is not None
        try:
            for awaited in (b"begun", b"waiting 30 s at most for 1 running job"):
                while awaited not in (line := await asyncio.to_thread(program.stdout.readline)):
                    assert line, f"the program ended before it said {awaited!r}"
                program.send_signal(signal.SIGINT)
            code = await asyncio.to_thread(program.wait, 45)
        finally:
            program.kill()
        assert code == -signal.SIGINT
        assert b"cleaned up" in await asyncio.to_thread(program.stdout.read)
    if scheme != "memory:":
        async with Queue(f"sqlite:{tmp_path / 'jobs.db'}", worker=False) as queue:
            # It was cut off, and has not failed.
            assert [info.failures async for info in queue.find(state=["ready", "running"])] == [0]


async def test_a_lazy_queue_that_is_left_before_its_file_was_refused_leaves_no_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Queue(f"sqlite:{tmp_path / 'nowhere' / 'jobs.db'}", lazy=True, timeout="1s") as queue:
        with pytest.raises(NotAJournal):
            await queue.submit("add", 1)
    del queue
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]
