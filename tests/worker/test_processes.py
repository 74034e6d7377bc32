"""Jobs in processes of their own: real ones, run by slots without any broker."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from aioqueue import BadOption, ProcessDied, Queue, Retry, Unstoppable
from aioqueue.protocol.messages import DeliverItem, RunEnd
from aioqueue.worker.endings import Stop
from tests.support import process_app
from tests.support.commands import environment
from tests.support.runs import failure_in, result_in
from tests.support.workers import Slots

SlotsOf = Callable[..., Slots]
RunOf = Callable[..., DeliverItem]


@pytest.fixture
def queue() -> Queue:
    queue = Queue("memory:")
    queue.include(process_app.queue)
    return queue


@pytest.fixture
def slots(slots_of: SlotsOf) -> Slots:
    """Two processes, and time enough for a SIGTERM to be heeded."""
    return slots_of(cancel_grace_ms=10_000)


async def noted(path: Path) -> list[int]:
    """What a job wrote once it had begun."""
    while not path.exists():  # noqa: ASYNC110 (a file rings no bell)
        await asyncio.sleep(0.005)
    return [int(word) for word in path.read_text().split()]


async def gone(*pids: int) -> None:
    """Wait until these processes have ended."""
    while any(_lives(pid) for pid in pids):  # noqa: ASYNC110 (somebody else's processes)
        await asyncio.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_plain_and_coroutine_functions_run_in_another_process_that_is_kept(slots: Slots, run_of: RunOf) -> None:
    slots.offer(run_of("pid"))
    pid = result_in(await slots.end())
    assert pid != os.getpid()
    slots.offer(run_of("add", 1, b=2))
    assert result_in(await slots.end()) == 3
    slots.offer(run_of("pid"))
    assert result_in(await slots.end()) == pid


async def test_no_more_processes_live_than_are_allowed(slots: Slots, run_of: RunOf) -> None:
    slots.offer(*(run_of("pid") for _ in range(8)))
    assert len({result_in(await slots.end()) for _ in range(8)}) <= 2


async def test_what_is_told_of_a_run_and_what_it_raises_travel_as_data(slots: Slots, run_of: RunOf) -> None:
    slots.offer(run_of("context", "a/b", headers={"trace": "1"}))
    told = result_in(await slots.end())
    assert (told["attempt"], told["headers"], told["stop"]) == (1, {"trace": "1"}, False)
    slots.offer(run_of("fail", "tray 2"))
    failure = await slots.failure()
    assert (failure.type, failure.text) == ("tests.support.process_app.OutOfPaper", "tray 2")
    assert "raise OutOfPaper(text)" in failure.traceback
    assert "process_child" not in failure.traceback
    assert failure.retry
    slots.offer(run_of("add", "one"))
    failure = await slots.failure()
    assert (failure.type, failure.retry) == ("BadArguments", False)
    slots.offer(run_of("object"))
    failure = await slots.failure()
    assert (failure.type, failure.retry) == ("NotSerializable", False)


async def test_retry_judges_what_another_process_raised(slots: Slots, run_of: RunOf, queue: Queue) -> None:
    policies = {
        "its own": (Retry(on=process_app.OutOfPaper), True),
        "another": (Retry(on=(OSError,)), False),
        "never": (Retry(never=(process_app.OutOfPaper,)), False),
    }
    for name, (retry, again) in policies.items():
        name = name.replace(" ", "_")
        queue.task(process_app.fail.fn, name=name, executor="process", retry=retry)
        slots.offer(run_of(name, "tray 2"))
        assert (await slots.failure()).retry is again


async def test_a_process_that_dies_by_itself_fails_its_run_only(slots: Slots, run_of: RunOf) -> None:
    deaths = {7: "ended with exit code 7", 0: "ended with exit code 0", -signal.SIGSEGV: "was killed by SIGSEGV"}
    for how, words in deaths.items():
        slots.offer(run_of("leave", how), run_of("add", 1))
        ends = [await slots.end(), await slots.end()]
        failed, succeeded = sorted(ends, key=lambda end: end.end is RunEnd.SUCCEEDED)
        assert result_in(succeeded) == 2
        failure = failure_in(failed)
        assert failure.type == ProcessDied.__name__
        assert words in failure.text
        assert failure.retry


async def test_a_job_that_closes_its_process_s_channel_fails(slots: Slots, run_of: RunOf) -> None:
    slots.offer(run_of("closing"))
    assert "was killed by SIGKILL" in (await slots.failure()).text


async def test_a_fork_that_comes_back_as_if_it_were_the_job_has_no_say(slots: Slots, run_of: RunOf) -> None:
    for _ in range(2):
        slots.offer(run_of("forking"))
        parent = result_in(await slots.end())
        assert _lives(parent)


async def test_a_cancel_ends_the_process_and_all_that_it_started(slots: Slots, run_of: RunOf, tmp_path: Path) -> None:
    item = run_of("endless", str(tmp_path / "begun"))
    slots.offer(item)
    pids = await noted(tmp_path / "begun")
    slots.runners.stop(item, Stop.CANCEL)
    assert (await slots.end()).end is RunEnd.RELEASED
    await gone(*pids)


@pytest.mark.parametrize("how", ["return", "wait", "timeout", "die"])
async def test_whatever_a_job_has_started_ends_with_it(slots: Slots, run_of: RunOf, tmp_path: Path, how: str) -> None:
    begun = tmp_path / "begun"
    waits = "wait" if how == "timeout" else how
    item = run_of("leaving", str(begun), waits, timeout_ms=3_000 if how == "timeout" else 0)
    slots.offer(item)
    pid, *started = await noted(begun)
    assert len(started) == 4
    if how == "wait":
        slots.runners.stop(item, Stop.CANCEL)
    expected = {"return": RunEnd.SUCCEEDED, "wait": RunEnd.RELEASED}.get(how, RunEnd.FAILED)
    assert (await slots.end()).end is expected
    # Not soon: when the end is told nothing is left.
    assert not any(_lives(each) for each in started)
    assert not any(psutil.pid_exists(each) for each in started if how != "return")
    if how == "return":
        slots.offer(run_of("zombies"))
        assert result_in(await slots.end()) == []
        assert _lives(pid)


async def test_what_a_job_has_started_ends_with_its_killed_worker(tmp_path: Path) -> None:
    program = await _program(tmp_path, "if __name__ == '__main__':\n    asyncio.run(main())", "leaving", "wait")
    pids = await noted(tmp_path / "begun")
    program.kill()
    await gone(*pids)
    await program.communicate()


async def test_what_python_keeps_for_a_process_outlives_its_runs(
    slots: Slots, run_of: RunOf, capfd: pytest.CaptureFixture[str]
) -> None:
    pids = []
    for _ in range(3):
        slots.offer(run_of("spawning"))
        pids.append(result_in(await slots.end()))
    assert len(set(pids)) == 1
    assert "resource_tracker" not in capfd.readouterr().err


async def test_a_process_that_heeds_no_sigterm_is_killed(slots_of: SlotsOf, run_of: RunOf, tmp_path: Path) -> None:
    slots = slots_of(cancel_grace_ms=50)
    item = run_of("deaf", str(tmp_path / "begun"))
    slots.offer(item)
    pids = await noted(tmp_path / "begun")
    slots.runners.stop(item, Stop.CANCEL)
    assert (await slots.end()).end is RunEnd.RELEASED
    await gone(*pids)


async def test_c_code_that_holds_the_gil_blocks_nobody_and_is_killed_by_its_timeout(
    slots_of: SlotsOf, run_of: RunOf, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    slots = slots_of(cancel_grace_ms=50)
    slots.offer(run_of("hold_gil", str(tmp_path / "begun"), str(tmp_path / "fifo"), timeout_ms=500))
    pids = await noted(tmp_path / "begun")
    slots.offer(run_of("add", 1))
    ends = [await slots.end(), await slots.end()]
    assert {end.end for end in ends} == {RunEnd.SUCCEEDED, RunEnd.FAILED}
    await gone(*pids)


async def test_a_job_that_answers_its_sigterm_with_a_result_has_succeeded(
    slots: Slots, run_of: RunOf, tmp_path: Path
) -> None:
    item = run_of("polite", str(tmp_path / "begun"))
    slots.offer(item)
    await noted(tmp_path / "begun")
    slots.runners.stop(item, Stop.CANCEL)
    assert result_in(await slots.end()) == "I was done"


async def test_a_signal_to_every_process_does_not_end_a_job_in_its_grace(
    slots: Slots, run_of: RunOf, tmp_path: Path
) -> None:
    item = run_of("hold_gil", str(tmp_path / "begun"), str(tmp_path / "fifo"))
    os.mkfifo(tmp_path / "fifo")
    slots.offer(item)
    (pid,) = await noted(tmp_path / "begun")
    os.killpg(pid, signal.SIGTERM)
    os.killpg(pid, signal.SIGINT)
    with (tmp_path / "fifo").open("wb") as fifo:
        fifo.write(b"1")
    assert result_in(await slots.end()) == 1


async def test_a_run_that_waits_for_a_process_has_not_begun_its_timeout(
    slots: Slots, run_of: RunOf, tmp_path: Path
) -> None:
    held = [run_of("endless", str(tmp_path / name)) for name in "ab"]
    slots.offer(*held)
    for name in "ab":
        await noted(tmp_path / name)
    waiting, stopped = run_of("add", 1, timeout_ms=1), run_of("add", 2)
    slots.offer(waiting, stopped)
    while slots.runners.running < 4:  # noqa: ASYNC110 (a turn of the loop each)
        await asyncio.sleep(0)
    slots.runners.stop(stopped, Stop.DRAIN)
    assert (await slots.end()).end is RunEnd.RELEASED
    assert [slot.deadline for slot in slots.runners._slots if slot.run is waiting] == [None]
    for item in held:
        slots.runners.stop(item, Stop.CANCEL)
    ends = [await slots.end() for _ in range(3)]
    assert sum(end.end is RunEnd.RELEASED for end in ends) == 2


async def test_closing_ends_all_processes(slots: Slots, run_of: RunOf, tmp_path: Path) -> None:
    slots.offer(run_of("pid"))
    idle = result_in(await slots.end())
    slots.offer(run_of("endless", str(tmp_path / "a")), run_of("endless", str(tmp_path / "b")))
    pids = await noted(tmp_path / "a") + await noted(tmp_path / "b")
    await slots.aclose()
    await gone(idle, *pids)


def nested() -> Callable[..., None]:
    def inner() -> None:
        """Not to be found."""

    return inner


@pytest.mark.parametrize("fn", [nested(), lambda: None])
def test_a_function_that_no_import_makes_is_refused_where_it_is_declared(fn: Callable[..., None]) -> None:
    with pytest.raises(BadOption, match="top of a module"):
        Queue("memory:").task(fn, name="x", executor="process")


async def test_a_name_that_holds_another_function_is_refused_when_it_is_used(
    queue: Queue, slots_of: SlotsOf, run_of: RunOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.task(process_app.plain, name="hidden", executor="process")
    monkeypatch.setattr(process_app, "plain", nested())
    slots = slots_of()
    slots.offer(run_of("hidden"))
    failure = await slots.failure()
    assert failure.type == "BadOption"
    assert "does not hold it" in failure.text
    assert not failure.retry


async def test_a_process_that_cannot_be_started_fails_the_run_and_gives_its_place_back(
    slots: Slots, run_of: RunOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*words: str, **options: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "create_subprocess_exec", refuse)
        for _ in range(3):
            slots.offer(run_of("pid"))
            failure = await slots.failure()
            assert "could not be started" in failure.text
            assert failure.retry
    slots.offer(run_of("pid"))
    assert result_in(await slots.end())


def test_a_plain_function_in_a_process_may_have_a_timeout() -> None:
    assert Queue("memory:").task(process_app.plain, executor="process", timeout=1).executor == "process"
    with pytest.raises(Unstoppable, match="executor"):
        Queue("memory:").task(process_app.plain, timeout=1)


PROGRAM = """
import asyncio
import sys

from aioqueue import Queue
from tests.support.process_app import hold_gil, leaving

queue = Queue("memory:")
queue.task(hold_gil.fn, name="hold_gil", executor="process")
queue.task(leaving.fn, name="leaving", executor="process")


@queue.task(executor="process", retry=1)
def whoami(times: int) -> str:
    return __name__ * times


async def main() -> None:
    async with queue:
        print(await queue.run(whoami, 1), flush=True)
        await queue.run(*sys.argv[1:])


GUARD
"""


async def _program(tmp_path: Path, guard: str, task: str = "hold_gil", how: str = "fifo") -> asyncio.subprocess.Process:
    (tmp_path / "program.py").write_text(PROGRAM.replace("GUARD", guard))
    os.mkfifo(tmp_path / "fifo")
    return await asyncio.create_subprocess_exec(
        sys.executable, "program.py", task, "begun", how, cwd=tmp_path, env=environment(),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_a_program_s_own_tasks_run_and_die_with_it_even_where_they_hold_the_gil(tmp_path: Path) -> None:
    program = await _program(tmp_path, "if __name__ == '__main__':\n    asyncio.run(main())")
    assert program.stdout is not None
    assert await program.stdout.readline() == b"__mp_main__\n"
    (pid,) = await noted(tmp_path / "begun")
    program.kill()
    await gone(pid)
    await program.communicate()


async def test_a_program_without_a_guard_is_told_so(tmp_path: Path) -> None:
    program = await _program(tmp_path, "asyncio.run(main())")
    out, err = await program.communicate()
    (line,) = [line for line in err.splitlines() if b"JobFailed: " in line]
    assert b"if __name__ ==" in line
    assert out == b""
