"""Processes that are forked while a queue is entered: what they may use, and what they must not keep from others."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aioqueue import Queue
from tests.support.commands import environment

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")

LOOPS = ["asyncio", "uvloop"]

_BEGIN = """
import asyncio, multiprocessing, os, signal, sys, threading
from aioqueue import AioqueueError, Queue

queue = Queue(f"sqlite:jobs.db")

@queue.task(name="double")
async def double(number: int) -> int:
    return 2 * number

def run(main):
    if sys.argv[1] == "uvloop":
        import uvloop
        uvloop.run(main)
    else:
        asyncio.run(main)

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def told(call):
    try:
        return asyncio.run(call)
    except AioqueueError as error:
        return error.code

async def listed(items):
    return [item async for item in items]

async def waited(child):
    assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, child, 0))[1]) == 0
"""


def output_of(folder: Path, program: str, loop: str) -> list[str]:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _BEGIN + program, loop]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=folder, env=environment()
    )
    assert done.returncode == 0, done.stderr
    # That a busy machine stopped the program for a moment is no news of this test.
    assert [line for line in done.stderr.splitlines() if "stood still" not in line] == []
    return done.stdout.splitlines()


@pytest.mark.parametrize("loop", LOOPS)
def test_what_was_entered_is_refused_in_a_forked_child_and_may_be_entered_there_anew(tmp_path: Path, loop: str) -> None:
    assert output_of(
        tmp_path,
        """
def in_child(job):
    say(told(queue.submit(double, 1)), told(queue.submit_many([double.call(1)])), told(queue.run(double, 1)))
    say(told(listed(queue.map(double, [1]))), told(listed(queue.find())), told(listed(queue.statistics())))
    say(told(queue.get(job.id)), told(job.result()), told(job.info()), told(job.cancel()), told(job.retry()))
    async def anew():
        async with queue:
            return await queue.run(double, 21), await job.result()
    say(told(anew()), told(queue.run(double, 1)))

async def main():
    async with queue:
        job = await queue.submit(double, 4)
        child = os.fork()
        if child == 0:
            in_child(job)
            os._exit(0)
        await waited(child)
        process = multiprocessing.get_context("fork").Process(target=in_child, args=(job,))
        process.start()
        await asyncio.to_thread(process.join, 60)
        say(process.exitcode, await queue.run(double, 2))

run(main())
""",
        loop,
    ) == [
        *(
            "forked forked forked",
            "forked forked forked",
            "forked forked forked forked forked",
            "(42, 8) not_entered",
        )
        * 2,
        "0 4",
    ]


@pytest.mark.parametrize("loop", LOOPS)
async def test_a_child_that_outlives_the_owner_keeps_the_file_from_nobody(tmp_path: Path, loop: str) -> None:
    program = """
async def main():
    async with queue:
        await (await queue.submit(double, 4))
        if os.fork() == 0:
            os.close(1)
            os.read(0, 1)
            os._exit(0)
        say("forked")
        os.kill(os.getpid(), signal.SIGKILL)

run(main())
"""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _BEGIN + program, loop]
    holding, going = os.pipe()
    with subprocess.Popen(
        command, stdin=holding, stdout=subprocess.PIPE, cwd=tmp_path, env=environment()
    ) as owner:  # fmt: skip
        os.close(holding)
        assert owner.stdout is not None
        assert await asyncio.to_thread(owner.stdout.read) == b"forked\n"
        heir = Queue(f"sqlite:{tmp_path / 'jobs.db'}", worker=False)
        async with asyncio.timeout(100), heir:
            assert [info.state async for info in heir.find()] == ["succeeded"]
        # The child has lived until here.
        os.write(going, b"x")
        os.close(going)


_ENDS = """
import gc

def forks():
    child = os.fork()
    if child == 0:
        # What asyncio says of a loop that two processes run is not the point.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        gc.collect()
        # Its way out leads through the parent's loop, and may never end; what it does to the parent is the point.
        signal.alarm(10)
        sys.exit()
    return child

async def looks(child):
    await asyncio.to_thread(os.waitpid, child, 0)
    say(await queue.run(double, 2), os.path.exists("jobs.db.sock"))
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", OTHER)
    say(await other.wait())

OTHER = '''
import asyncio
from aioqueue import Queue

async def main():
    async with Queue("sqlite:jobs.db", worker=False) as queue:
        assert await queue.run("double", 1) == 2
asyncio.run(main())
'''
"""
_IN_THE_LOOP = """
async def main():
    async with queue:
        await looks(forks())
    async with queue:
        say(await queue.run(double, 4))

run(main())
"""
_BESIDE_IT = """
entered, forked = threading.Event(), asyncio.Event()

async def main():
    global loop, child
    loop = asyncio.get_running_loop()
    async with queue:
        entered.set()
        await forked.wait()
        await looks(child)
    async with queue:
        say(await queue.run(double, 4))

thread = threading.Thread(target=run, args=(main(),))
thread.start()
entered.wait()
child = forks()
loop.call_soon_threadsafe(forked.set)
thread.join()
"""


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("forks", [_IN_THE_LOOP, _BESIDE_IT], ids=["in the loop", "beside the loop's thread"])
def test_a_child_that_ends_in_good_order_takes_nothing_from_its_parent(tmp_path: Path, forks: str, loop: str) -> None:
    assert output_of(tmp_path, _ENDS + forks, loop) == ["4 True", "0", "8"]
