"""A compressed soak: `python -m tests.soak MINUTES [--rate N] [--seed N] [--folder PATH] [--plot PATH]`.

A real broker whose bounds are tiny, supervised workers and a producer that knows how each job must end, with restarts,
kills and a client that does not read. Disk, memory, open files and latencies are looked at every two seconds, and stand
in `samples.jsonl` of the folder; at the end come a table, a plot, and a verdict. Exit code 1 where
something grew, was lost, or was logged that nobody expected. Run by hand, by `nox -s soak -- 15`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil

from aioqueue.model.views import Statistics
from tests.soak import programs, report
from tests.soak.app import queue
from tests.soak.ledger import Ledger
from tests.soak.load import Load
from tests.soak.report import Judgement, Sample
from tests.support.commands import COMMAND, environment

SAMPLE_SECONDS: Final = 2.0
CHURN_SECONDS: Final = 25.0
WAKE_SECONDS: Final = 40.0
# Both in the first half, so that the second is the life of one broker.
STOPPED_AT: Final = 0.15
KILLED_AT: Final = 0.35
SETTLE_SECONDS: Final = 120.0
AUDITS_AT_ONCE: Final = 200


class Soak:
    """One run in a folder."""

    def __init__(self, folder: Path, minutes: float, rate: int, seed: int) -> None:
        self._folder = folder
        self._seconds = minutes * 60
        self._begun = time.monotonic()
        self.samples: list[Sample] = []
        self.events: list[tuple[float, str]] = []
        self.churn: Counter[str] = Counter()
        self.judged: list[Judgement] = []
        self.found: Counter[str] = Counter()
        self._ledger = Ledger(folder / "ledger.jsonl")
        self.load = Load(queue, self._ledger, rate, seed)
        self._statistics: Statistics | None = None
        self._broker = programs.broker(folder)
        self._stopping = asyncio.Event()
        self._rounds = 0
        self._before: tuple[float, int, float] | None = None

    @property
    def _at(self) -> float:
        return time.monotonic() - self._begun

    async def run(self) -> None:
        url, _ = await programs.start_broker(self._broker)
        queue.url = url
        steady = programs.worker(self._folder, "worker", url)
        churned = programs.worker(self._folder, "churned-worker", url)
        reader = programs.reader(self._folder, url)
        for program in (steady, churned, reader):
            await program.start()
        async with queue:
            self._begun = time.monotonic()
            async with asyncio.TaskGroup() as tasks:
                beside = [
                    tasks.create_task(self._watch()),
                    tasks.create_task(self._look(steady)),
                    tasks.create_task(self._restart_broker()),
                    tasks.create_task(self._churn(churned)),
                    tasks.create_task(self._wake(reader)),
                    tasks.create_task(self._count_rounds(reader)),
                ]
                tasks.create_task(self._load(beside))
            await self._settle()
            await self._audit()
        reader.process.send_signal(signal.SIGCONT)
        await reader.stop(signal.SIGKILL)
        ends = {program.name: await program.stop() for program in (steady, churned, self._broker)}
        self._judge(Counter(name for name, code in ends.items() if code), [steady, churned, reader])
        await self._check_journal()
        self._ledger.close()

    async def _load(self, beside: list[asyncio.Task[None]]) -> None:
        load = asyncio.create_task(self.load.run(self._stopping))
        await asyncio.sleep(max(0.0, self._seconds - self._at))
        self._stopping.set()
        for task in beside:
            task.cancel()
        await load

    # --- what is done to it ------------------------------------------------------------------------------------------

    async def _restart_broker(self) -> None:
        for part, number in ((STOPPED_AT, signal.SIGTERM), (KILLED_AT, signal.SIGKILL)):
            await asyncio.sleep(max(0.0, self._seconds * part - self._at))
            at = self._at
            await self._broker.stop(number)
            self._before = None
            away = self._at
            _, took = await programs.start_broker(self._broker)
            word = "stopped in good order" if number is signal.SIGTERM else "killed"
            self.events.append((at, f"{word}; it ended after {away - at:.1f} s and listened {took:.1f} s later"))

    async def _churn(self, program: programs.Program) -> None:
        while True:
            await asyncio.sleep(CHURN_SECONDS)
            child = program.look()
            if child is not None and self.churn["a worker process was killed"] <= self.churn["a worker was drained"]:
                child.kill()
                self.churn["a worker process was killed"] += 1
            else:
                code = await program.stop()
                if code:
                    self._ledger.violate("drain", f"the worker ended with {code}")
                await program.start()
                self.churn["a worker was drained"] += 1

    async def _wake(self, reader: programs.Program) -> None:
        while True:
            await asyncio.sleep(WAKE_SECONDS)
            reader.process.send_signal(signal.SIGCONT)

    async def _count_rounds(self, reader: programs.Program) -> None:
        while True:
            assert reader.process.stdout is not None
            if not await reader.process.stdout.readline():
                self._ledger.violate("reader", f"it ended: {reader.log.read_text()[-500:]}")
                return
            self._rounds += 1

    # --- what is seen of it ------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        async for statistics in queue.statistics():
            self._statistics = statistics

    async def _look(self, worker: programs.Program) -> None:
        with (self._folder / "samples.jsonl").open("ab") as file:
            while True:
                await asyncio.sleep(SAMPLE_SECONDS)
                sample = self._sample(worker)
                self.samples.append(sample)
                file.write(msgspec.json.encode(sample) + b"\n")
                file.flush()

    def _sample(self, worker: programs.Program) -> Sample:
        seen: dict[str, Any] = {"at": self._at, **programs.measure(self._folder)._asdict()}
        now, acknowledged, cpu = time.monotonic(), self._ledger.acknowledged, None
        for name, process in (("broker", self._broker.look()), ("worker", worker.look())):
            with suppress(psutil.Error):
                if process is not None:
                    seen[f"{name}_rss"] = process.memory_info().rss
                    seen[f"{name}_fds"] = process.num_fds()
                    if name == "broker":
                        cpu = sum(process.cpu_times()[:2])
        if self._before is not None and cpu is not None:
            then, jobs, before = self._before
            seen["jobs_a_second"] = (acknowledged - jobs) / (now - then)
            if acknowledged > jobs:
                seen["broker_us_a_job"] = (cpu - before) / (acknowledged - jobs) * 1e6
        self._before = None if cpu is None else (now, acknowledged, cpu)
        for name, values in (("submit", self.load.submit_ms), ("round_trip", self.load.round_trip_ms)):
            seen[f"{name}_p50_ms"] = report.percentile(values, 0.5)
            seen[f"{name}_p99_ms"] = report.percentile(values, 0.99)
            values.clear()
        if self._statistics is not None and self._statistics.admission is not None:
            seen["position"] = self._statistics.position
            seen["base"] = self._statistics.base
            seen["log_bytes"] = self._statistics.log_bytes
            seen["step_us_p99"] = self._statistics.step_us_p99
            seen["living"] = self._statistics.admission.jobs
            seen["living_bytes"] = self._statistics.admission.size
        return Sample(**seen)

    # --- what is so at the end ---------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Wait until nothing lives but what is scheduled far ahead; the reader's last round included."""
        far, living = len(self.load.far), -1
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                async for statistics in queue.statistics():
                    assert statistics.admission is not None
                    living = statistics.admission.jobs
                    if living == far:
                        break
        sentence = f"{living:,} jobs live at the end, {far:,} are scheduled far ahead"
        self.judged.append(Judgement(living == far, sentence))
        idle = 0 if self._statistics is None else self._statistics.idle_found
        self.judged.append(Judgement(idle == 0, f"{idle} times a worker was idle beside work"))

    async def _audit(self) -> None:
        entries = list(self._ledger.entries())
        left = iter(entries)

        async def lane() -> None:
            for entry in left:
                self.found[await self._ledger.audit(queue.session(), entry)] += 1

        async with asyncio.TaskGroup() as tasks:
            for _ in range(AUDITS_AT_ONCE):
                tasks.create_task(lane())

    def _judge(self, failed: Counter[str], logging: list[programs.Program]) -> None:
        wrong = self._ledger.wrong
        jobs = sum(self.found.values())
        self.judged.append(Judgement(not wrong, f"{jobs:,} acknowledged jobs, {sum(wrong.values())} not as promised"))
        self.judged.append(Judgement(not failed, f"processes that ended badly: {', '.join(failed) or 'none'}"))
        self.judged.append(Judgement(self._rounds > 0, f"{self._rounds} rounds of the client that stops reading"))
        texts = [program.log.read_text() for program in (self._broker, *logging)]
        self.logged, others = report.sort_lines(line for text in texts for line in text.splitlines())
        self.judged.append(Judgement(not others, f"{len(others)} lines were logged that nobody expected"))
        self.judged += report.judge_growth(self.samples, self._seconds)
        self.troubles = [*self._ledger.violations, *others[:20]]

    async def _check_journal(self) -> None:
        words = [*COMMAND, "check", str(self._folder / programs.JOURNAL)]
        process = await asyncio.create_subprocess_exec(
            *words, env=environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await process.communicate()
        last = out.decode().strip().splitlines()[-1:]
        self.judged.append(Judgement(process.returncode == 0, f"`aioqueue check` of its journal: {' '.join(last)}"))


def told(soak: Soak, minutes: float, rate: int) -> str:
    """What is said of a run, as Markdown."""
    samples = soak.samples
    where = f"on {os.cpu_count()} cores whose load was {os.getloadavg()[2]:.1f} in the mean of the last quarter hour"
    parts = [
        f"{minutes:g} minutes at {rate} stories a second, {where}; Python {platform.python_version()}.\n",
        report.table(samples, minutes * 60),
        "".join(f"- After {at:.0f} s the broker was {what}.\n" for at, what in soak.events)
        + "".join(f"- {count} times {what}.\n" for what, count in sorted(soak.churn.items()))
        + f"- {soak.load.read_again:,} results were read again, {soak.load.read_expired:,} of them too late;"
        f" {soak.load.held_back:,} stories were held back while the broker was away.\n"
        + "- Logged, and expected: "
        + "; ".join(f"{what} ({count:,})" for what, count in soak.logged.most_common())
        + ".\n",
        "At the end: " + ", ".join(f"{count:,} {state}" for state, count in soak.found.most_common()) + ".\n",
        report.verdict(soak.judged),
    ]
    if soak.troubles:
        parts.append("```\n" + "\n".join(soak.troubles) + "\n```\n")
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description="A compressed soak.")
    parser.add_argument("minutes", type=float, nargs="?", default=1.0)
    parser.add_argument("--rate", type=int, default=100, help="stories a second; bulks come on top")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep everything here")
    parser.add_argument("--plot", type=Path, help="where the plot goes, as .svg and .png")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        soak = Soak(folder.resolve(), options.minutes, options.rate, options.seed)
        asyncio.run(soak.run())
        text = told(soak, options.minutes, options.rate)
        (folder / "soak.md").write_text(text)
        print(text)
        if options.plot:
            from tests.soak.plot import draw

            draw(soak.samples, soak.events, [options.plot.with_suffix(".svg"), options.plot.with_suffix(".png")])
    return 0 if all(each.good for each in soak.judged) else 1


if __name__ == "__main__":
    sys.exit(main())
