"""What it costs who may take which job: `python benchmarks/fits.py [JOBS]`.

Core alone, in processor time. First a deploy before a backlog: so many jobs of a task that only the new release knows,
and behind them one that the old workers know; what is shown is the longest step from the moment at which an old worker
comes until it has its job, and when a new one has taken what stood in the way. Then a worker of all queues beside one,
ten, and ten thousand of them, and two workers that take nothing of each other's among ever more fits.
"""

from __future__ import annotations

import gc
import sys
import time
from typing import Any

from aioqueue.clock import Now
from aioqueue.core import commands as c
from aioqueue.core import levels
from aioqueue.core.admission import BacklogLimits
from aioqueue.core.effects import DeliverJob
from aioqueue.core.partition import Partition, Step
from aioqueue.model.ids import generated_id
from aioqueue.model.spec import Spec, pack_spec

NOW = Now(1_000, 1_700_000_000_000)
PART = 1_000


class Bench:
    """One partition."""

    def __init__(self) -> None:
        self.partition = Partition(limits=BacklogLimits(10_000_000, 1 << 40))
        self.partition.level = levels.KNOWN.highest
        self._number = self._position = 0

    def step(self, *commands: c.Command) -> Step:
        self._position += 1
        return self.partition.step(commands, NOW, self._position)

    def submit(self, jobs: int, task: str = "new", queue: str = "default") -> None:
        spec = Spec("default", queue, task)
        packed = pack_spec(spec)
        for start in range(0, jobs, PART):
            items = []
            for _ in range(min(PART, jobs - start)):
                self._number += 1
                key = generated_id("default", queue, NOW.wall_ms, self._number.to_bytes(10, "big"))
                items.append(c.NewJob(key, spec, packed, b"\x92\x90\x80"))
            self.step(c.SubmitJobs(items))

    def worker(self, slots: int, *tasks: str, every: bool = False) -> tuple[int, Step]:
        number = self.step(c.OpenSession(b"w%d" % self._position, "default", "w")).replies[0][0]
        self.step(c.DeclareOffer(number, 0, tuple((task, 0) for task in tasks) or None, (), every))
        return number, self.step(c.OfferCapacity(number, slots, () if every else ("default",)))

    def drain(self, session: int, step: Step) -> int:
        """Settle all that is leased, until nothing is; how many jobs that was."""
        ended = 0
        while runs := [effect for effect in step.effects if isinstance(effect, DeliverJob)]:
            ended += len(runs)
            ends = [c.EndRun(run.id, run.fence, c.RunEnd.SUCCEEDED, b"x") for run in runs if run.session == session]
            step = self.step(c.SettleRuns(session, ends))
        return ended


def timed(work: Any) -> tuple[float, Any]:
    """Milliseconds of processor time, and what came of it."""
    began = time.thread_time()
    result = work()
    return (time.thread_time() - began) * 1e3, result


def deploy(jobs: int) -> None:
    bench = Bench()
    bench.submit(jobs)
    bench.submit(1, "old")
    gc.collect()
    # Steps alone are measured here; a collection of a million jobs would be told as one of them.
    gc.freeze()
    gc.disable()
    took, (old, step) = timed(lambda: bench.worker(1, "old"))
    steps = [took]
    while step.more:
        took, step = timed(bench.step)
        steps.append(took)
    held = len(bench.partition.state.sessions[old].leases)
    print(f"{jobs:,} jobs before one that an old worker takes: it holds {held} after {len(steps):,} steps")
    print(f"    the longest step {max(steps):.1f} ms, their median {sorted(steps)[len(steps) // 2]:.2f} ms")
    took, (new, step) = timed(lambda: bench.worker(500, "old", "new"))
    some = min(jobs, 20_000)
    drained, longest = 0, took
    began = time.thread_time()
    while drained < some:
        runs = [effect for effect in step.effects if isinstance(effect, DeliverJob)]
        drained += len(runs)
        ends = [c.EndRun(run.id, run.fence, c.RunEnd.SUCCEEDED, b"x") for run in runs]
        took, step = timed(lambda ends=ends: bench.step(c.SettleRuns(new, ends)))
        longest = max(longest, took)
    us = (time.thread_time() - began) / drained * 1e6
    print(f"    a new worker takes them at {us:.1f} us a job (leased and settled), the longest step {longest:.1f} ms")
    gc.enable()
    gc.unfreeze()


def rate(bench: Bench, session: int, step: Step) -> float:
    """Microseconds a job, leased and settled."""
    gc.collect()
    took, ended = timed(lambda: bench.drain(session, step))
    return took / max(1, ended) * 1e3


def many_queues(queues: int, jobs: int = 20_000) -> None:
    bench = Bench()
    session, _ = bench.worker(0, every=True)
    for number in range(queues):
        bench.submit(jobs // queues, "t", f"q{number}")
    step = bench.step(c.OfferCapacity(session, 100, ()))
    print(f"a worker of all of {queues:6,} queues: {rate(bench, session, step):5.1f} us a job")


def many_fits(fits: int, jobs: int = 20_000) -> None:
    bench = Bench()
    names = [f"task{number}" for number in range(fits)]
    bench.worker(1, "nothing")
    for _ in range(jobs // fits // 10):
        for name in names:
            bench.submit(10, name)
    session, step = bench.worker(100, *names)
    print(f"a worker of all of {fits:6,} fits, each in a line of its own: {rate(bench, session, step):5.1f} us a job")


if __name__ == "__main__":
    for queues in (1, 10, 1_000, 10_000):
        many_queues(queues)
    for fits in (1, 10, 100, 1_000):
        many_fits(fits)
    deploy(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
