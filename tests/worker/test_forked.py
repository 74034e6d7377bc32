"""Children that tasks fork or spawn have no part in the worker that runs them: real processes and signals."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from aioqueue.protocol import messages as m
from tests.support.patience import eventually
from tests.support.supervising import APP, Connections, Supervised, gone

RunOf = Callable[..., m.DeliverItem]

FORKS = (
    APP
    + """
import multiprocessing, sys, threading, time

def sleep() -> None:
    time.sleep(1000)

def own_loop(pipe) -> None:
    async def main() -> str:
        await asyncio.sleep(0)
        return "ran"
    pipe.send(asyncio.run(main()))

def end_child(method: str, number: int) -> int:
    child = multiprocessing.get_context(method).Process(target=sleep)
    child.start()
    os.kill(child.pid, number)
    child.join()
    return child.exitcode

def loop_in_child(method: str) -> str:
    context = multiprocessing.get_context(method)
    near, far = context.Pipe()
    child = context.Process(target=own_loop, args=[far])
    child.start()
    far.close()
    try:
        return near.recv()
    except EOFError:
        return "failed"
    finally:
        child.join()

def pools(method: str, times: int) -> int:
    for _ in range(times):
        with multiprocessing.get_context(method).Pool(2) as pool:
            try:
                pool.apply_async(time.sleep, [1000]).get(0.001)
            except multiprocessing.TimeoutError:
                pass
    return times

def returning_fork() -> int:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return os.getpid()

@queue.task(name="left_behind")
def left_behind() -> int:
    child = multiprocessing.get_context("fork").Process(target=sleep)
    child.start()
    return child.pid

@queue.task(name="apart", executor="process")
def apart(begun: str) -> None:
    with open(begun + ".new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(begun + ".new", begun)
    time.sleep(1000)

for fn in (end_child, loop_in_child, pools, returning_fork):
    queue.task(fn, name=f"thread.{fn.__name__}")
    queue.task(fn, name=f"process.{fn.__name__}", executor="process")

@queue.task(name="coroutine.end_child")
async def end_child_in_coroutine(method: str, number: int) -> int:
    return end_child(method, number)

@queue.task(name="coroutine.loop_in_child")
async def loop_in_child_in_coroutine(method: str) -> str:
    return loop_in_child(method)

@queue.task(name="coroutine.pools")
async def pools_in_coroutine(method: str, times: int) -> int:
    return pools(method, times)

@queue.task(name="coroutine.returning_fork")
async def returning_fork_in_coroutine() -> int:
    return returning_fork()

@queue.task(name="patient")
async def patient(begun: str) -> str:
    open(begun, "w").close()
    while not os.path.exists(begun + ".go"):
        await asyncio.sleep(0.05)
    return "had its time"
"""
)
LOOPS = {"uvloop": FORKS, "asyncio": "import sys\nsys.modules['uvloop'] = None\n" + FORKS}
KINDS = ["thread", "coroutine", "process"]


async def settled(child: Connections, *runs: m.DeliverItem) -> list[object]:
    """What these runs gave, one after another."""
    return [await child.result(run) for run in runs]


@pytest.mark.parametrize("loop", LOOPS)
async def test_a_task_that_ends_a_child_of_its_own_ends_nothing_else(
    supervised: Supervised, run_of: RunOf, loop: str
) -> None:
    running = await supervised(LOOPS[loop])
    child = await running.child()
    pid = await child.result(run_of("pid"))
    for kind in KINDS:
        for method in ("fork", "spawn"):
            for number in (signal.SIGTERM, signal.SIGINT):
                # Once it runs Python, SIGINT is a KeyboardInterrupt there, which ends it with 1.
                ends = {-number} if number == signal.SIGTERM else {-number, 1}
                assert await child.result(run_of(f"{kind}.end_child", method, number)) in ends, (kind, method, number)
    # It is the same worker still, in the same session, and takes jobs.
    assert await child.result(run_of("pid")) == pid
    assert len(running.children) == 1


@pytest.mark.parametrize("loop", LOOPS)
async def test_a_forked_child_runs_an_event_loop_of_its_own(supervised: Supervised, run_of: RunOf, loop: str) -> None:
    running = await supervised(LOOPS[loop])
    child = await running.child()
    for kind in KINDS:
        assert await child.result(run_of(f"{kind}.loop_in_child", "fork")) == "ran", kind


async def test_leaving_a_pool_after_a_timeout_never_hangs(supervised: Supervised, run_of: RunOf) -> None:
    running = await supervised(FORKS)
    child = await running.child()
    pid = await child.result(run_of("pid"))
    for kind in KINDS:
        assert await child.result(run_of(f"{kind}.pools", "fork", 20)) == 20, kind
    assert await child.result(run_of("pid")) == pid


async def test_a_fork_that_comes_back_as_if_it_were_the_job_ends(supervised: Supervised, run_of: RunOf) -> None:
    running = await supervised(FORKS)
    child = await running.child()
    for kind in KINDS:
        assert await child.result(run_of(f"{kind}.returning_fork")) == 0, kind
    assert len(running.children) == 1


async def test_a_fork_that_outlives_its_worker_keeps_nothing_of_it_alive(
    supervised: Supervised, run_of: RunOf, tmp_path: Path
) -> None:
    running = await supervised(FORKS)
    child = await running.child()
    worker = await child.result(run_of("pid"))
    child.worker.send(m.Deliver([run_of("apart", str(tmp_path / "begun"))]))
    await eventually((tmp_path / "begun").exists)
    fork = await child.result(run_of("left_behind"))
    try:
        os.kill(worker, signal.SIGKILL)
        # Both its connection and the jobs in processes of their own end with it.
        await child.worker.until_closed()
        await eventually(lambda: gone(int((tmp_path / "begun").read_text())))
        assert not gone(fork)
    finally:
        os.kill(fork, signal.SIGKILL)
