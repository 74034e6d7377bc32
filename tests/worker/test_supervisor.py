"""Real processes: a supervisor, its children, and a broker whose every word the test says."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from aioqueue.errors import CrashLoop
from aioqueue.ground import Ground
from aioqueue.protocol import messages as m
from aioqueue.worker.channel import Work, WorkerOptions
from aioqueue.worker.heartbeat import Heartbeat
from aioqueue.worker.supervisor import STARTS_MAX, Supervisor
from tests.support.fake_broker import FakeBroker
from tests.support.patience import eventually
from tests.support.supervising import APP, PROJECT, Connections, Greeter, Running, Supervised, gone

Busy = Callable[..., Awaitable[tuple[Running, Connections, int]]]
RunOf = Callable[..., m.DeliverItem]


@pytest.fixture
def busy(supervised: Supervised, run_of: RunOf, tmp_path: Path) -> Busy:
    """`await busy()` starts a supervisor whose child runs a job without an end: the two, and the child's pid."""

    async def start(task: str = "endless", **options: Any) -> tuple[Running, Connections, int]:
        running = await supervised(**options)
        child = await running.child()
        child.worker.send(m.Deliver([run_of(task, str(tmp_path / "begun"))]))
        return running, child, await child.result(run_of("pid"))

    return start


async def test_a_child_works_while_its_supervisor_beats_for_it(supervised: Supervised, run_of: RunOf) -> None:
    running = await supervised(concurrency=7)
    child = await running.child()
    assert child.capacity == m.Capacity(7, ["default"])
    assert child.name.endswith(f":{running.process.pid}/1")
    pid = await child.result(run_of("pid"))
    assert psutil.Process(pid).ppid() == running.process.pid


async def test_each_process_has_a_session_of_its_own(supervised: Supervised, run_of: RunOf) -> None:
    running = await supervised(processes=2)
    first, second = await running.child(), await running.child()
    assert len(running.children) == 2
    assert await first.result(run_of("pid")) != await second.result(run_of("pid"))


async def test_the_secret_of_a_session_is_in_no_list_of_processes(supervised: Supervised, run_of: RunOf) -> None:
    running = await supervised()
    child = await running.child()
    process = psutil.Process(await child.result(run_of("pid")))
    (secret,) = running.children
    told = repr(process.cmdline()) + repr(process.environ())
    assert secret.hex() not in told
    assert repr(secret)[2:-1] not in told


async def test_a_killed_child_is_told_of_at_once_and_replaced(supervised: Supervised, run_of: RunOf) -> None:
    running = await supervised()
    child = await running.child()
    pid = await child.result(run_of("pid"))
    os.kill(pid, signal.SIGKILL)
    assert await child.death() == m.WorkerDied("was killed by SIGKILL", 1)
    another = await running.child()
    assert await another.result(run_of("pid")) != pid
    assert len(running.children) == 2


async def test_a_job_in_a_process_of_its_own_runs_under_the_child_and_dies_with_it(
    supervised: Supervised, run_of: RunOf, tmp_path: Path
) -> None:
    app = (
        APP
        + """
@queue.task(name="apart", executor="process")
def apart() -> int:
    return os.getpid()

@queue.task(name="apart_for_ever", executor="process")
def apart_for_ever(fifo: str) -> None:
    with open(fifo, "w") as told:
        told.write(str(os.getpid()))
    signal.pause()
"""
    )
    running = await supervised(app)
    child = await running.child()
    pid = await child.result(run_of("pid"))
    kept = await child.result(run_of("apart"))
    assert pid in [each.pid for each in psutil.Process(kept).parents()]
    os.mkfifo(tmp_path / "fifo")
    child.worker.send(m.Deliver([run_of("apart_for_ever", str(tmp_path / "fifo"))]))
    assert int(await asyncio.to_thread((tmp_path / "fifo").read_text)) == kept
    os.kill(pid, signal.SIGKILL)
    assert await child.death() == m.WorkerDied("was killed by SIGKILL", 1)
    await asyncio.to_thread(_wait_gone, kept)


async def test_a_child_that_exits_by_itself_is_told_of_and_replaced(supervised: Supervised, run_of: RunOf) -> None:
    app = APP + "\n@queue.task(name='leave')\ndef leave(code: int) -> None:\n    os._exit(code)\n"
    running = await supervised(app)
    for code in (7, 0):
        # No code is a goodbye: a task may have chosen it.
        child = await running.child()
        child.worker.send(m.Deliver([run_of("leave", code)]))
        assert await child.death() == m.WorkerDied(f"ended with exit code {code}", 1)
    await running.child()


async def test_a_child_that_dies_before_its_welcome_is_replaced(
    supervised: Supervised, broker: FakeBroker, run_of: RunOf, tmp_path: Path
) -> None:
    running = await supervised(APP + "\nopen('pids', 'a').write(f'{os.getpid()}\\n')\n")
    running._greeting.cancel()
    await (await broker.accept()).expect(m.Hello)
    (pid,) = (tmp_path / "pids").read_text().split()
    os.kill(int(pid), signal.SIGKILL)
    running._greeting = asyncio.create_task(running._greet())
    child = await running.child()
    assert await child.result(run_of("pid")) != int(pid)


async def test_a_child_that_dies_while_it_is_stopped_is_told_by_the_exit_code(busy: Busy) -> None:
    running, child, pid = await busy(grace_ms=86_400_000)
    running.process.terminate()
    await child.worker.expect(m.Capacity)
    os.kill(pid, signal.SIGKILL)
    assert await child.death() == m.WorkerDied("was killed by SIGKILL", 1)
    assert await running.process.wait() == 1


async def test_ends_that_no_broker_takes_are_told_by_the_exit_code(busy: Busy, broker: FakeBroker) -> None:
    running, *_ = await busy(grace_ms=86_400_000)
    running._greeting.cancel()
    await broker.stop()
    # Two signals of one kind may become one.
    running.process.send_signal(signal.SIGTERM)
    running.process.send_signal(signal.SIGINT)
    assert await running.process.wait() == 1


@pytest.mark.parametrize(
    "refusal", [BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), RuntimeError("can't start new thread")]
)
async def test_a_process_that_the_system_refuses_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refusal: Exception
) -> None:
    supervisor = Supervisor(WorkerOptions(target="shop:queue"), ground=Ground())
    attempts = 0

    async def refuse(*words: str, **options: object) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            supervisor.stop()
        raise refusal

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    assert await supervisor.run() == 0
    assert f"no worker process can be started: {refusal}" in caplog.text


async def test_a_child_that_nobody_can_beat_for_does_not_begin_to_work(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path, broker: FakeBroker
) -> None:
    def refuse(heartbeat: Heartbeat) -> None:
        supervisor.stop()
        raise RuntimeError("can't start new thread")

    (tmp_path / "shop.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setattr(Heartbeat, "start", refuse)
    options = WorkerOptions(target="shop:queue", url=broker.url, grace_ms=86_400_000)
    supervisor = Supervisor(options, ground=Ground())
    greeter = Greeter(broker)
    assert await supervisor.run() == 0
    await greeter.aclose()
    assert "nobody can beat for worker process" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_everything_in_good_order(busy: Busy, tmp_path: Path, number: signal.Signals) -> None:
    running, child, _ = await busy(grace_ms=50)
    assert (tmp_path / "begun").exists()
    running.process.send_signal(number)
    assert await child.worker.expect(m.Capacity) == m.Capacity(0, ["default"])
    (end,) = await child.settle()
    assert end.end is m.RunEnd.RELEASED
    await child.worker.expect(m.Goodbye)
    assert await running.process.wait() == 0
    # It said goodbye itself, so nobody says that it died.
    assert {type(message) for message in await child.beats.until_closed()} <= {m.Beat}


async def test_a_second_signal_hurries(busy: Busy) -> None:
    running, child, _ = await busy(grace_ms=86_400_000)
    running.process.terminate()
    await child.worker.expect(m.Capacity)
    running.process.terminate()
    (end,) = await child.settle()
    assert end.end is m.RunEnd.RELEASED
    await child.worker.expect(m.Goodbye)
    assert await running.process.wait() == 0


async def test_a_signal_to_every_process_is_one_request_not_two(busy: Busy) -> None:
    running, child, pid = await busy(grace_ms=86_400_000)
    os.kill(pid, signal.SIGTERM)
    await child.worker.expect(m.Capacity)
    running.process.terminate()
    os.kill(pid, signal.SIGTERM)
    # The job still has its day of grace: only a second signal to the supervisor takes it away.
    child.worker.send(m.Ping(1))
    assert await child.worker.expect(m.Pong) == m.Pong(1)
    running.process.send_signal(signal.SIGINT)
    (end,) = await child.settle()
    assert end.end is m.RunEnd.RELEASED


async def test_a_terminal_that_is_closed_stops_everything_in_good_order(busy: Busy) -> None:
    running, child, _ = await busy(grace_ms=50)
    # A shell says it, and the system too: that is no hurry.
    running.process.send_signal(signal.SIGHUP)
    assert await child.worker.expect(m.Capacity) == m.Capacity(0, ["default"])
    running.process.send_signal(signal.SIGHUP)
    (end,) = await child.settle()
    assert end.end is m.RunEnd.RELEASED
    assert await running.process.wait() == 0


async def test_sigquit_ends_children_at_once_and_gives_their_jobs_back(busy: Busy) -> None:
    running, child, pid = await busy(grace_ms=86_400_000)
    running.process.send_signal(signal.SIGQUIT)
    assert await child.death() == m.WorkerDied("", 1, leaving=True)
    assert gone(pid)
    assert await running.process.wait() == 0
    assert len(running.children) == 1


async def test_nobody_beats_for_a_child_that_somebody_else_has_stopped(busy: Busy) -> None:
    _, child, pid = await busy(grace_ms=50)
    beats = child.beats
    os.kill(pid, signal.SIGSTOP)
    assert {type(message) for message in await beats.until_closed()} <= {m.Beat}
    os.kill(pid, signal.SIGCONT)
    await eventually(lambda: child.beats is not beats)


async def test_a_child_that_dies_while_somebody_else_has_stopped_it_is_replaced(busy: Busy, run_of: RunOf) -> None:
    running, child, pid = await busy(grace_ms=50)
    beats = child.beats
    os.kill(pid, signal.SIGSTOP)
    await beats.until_closed()
    os.kill(pid, signal.SIGKILL)
    assert await (await running.child()).result(run_of("pid")) != pid


async def test_a_child_stands_in_a_group_of_its_own(busy: Busy) -> None:
    running, _, pid = await busy(grace_ms=50)
    assert os.getpgid(pid) == pid != os.getpgid(running.process.pid)


@pytest.mark.slow
async def test_a_thread_that_does_not_end_does_not_keep_the_worker_alive(busy: Busy) -> None:
    running, child, pid = await busy(grace_ms=10, task="deaf")
    running.process.terminate()
    assert await child.worker.until_closed() == [m.Capacity(0, ["default"])]
    # It is given back when nothing of it can run any more.
    assert await child.death() == m.WorkerDied("", 1, leaving=True)
    assert gone(pid)
    assert await running.process.wait() == 0


async def test_a_child_whose_supervisor_was_killed_ends_itself(busy: Busy) -> None:
    running, child, pid = await busy(grace_ms=86_400_000)
    running.process.kill()
    assert await child.worker.expect(m.Capacity) == m.Capacity(0, ["default"])
    (end,) = await child.settle()
    assert end.end is m.RunEnd.RELEASED
    await child.worker.expect(m.Goodbye)
    await child.worker.until_closed()
    await asyncio.to_thread(_wait_gone, pid)


@pytest.mark.slow
async def test_a_child_whose_loop_is_blocked_ends_itself_too(supervised: Supervised, run_of: RunOf) -> None:
    begun = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, begun.set)
    running = await supervised()
    child = await running.child()
    pid = await child.result(run_of("pid"))
    child.worker.send(m.Deliver([run_of("blocking", os.getpid())]))
    await begun.wait()
    running.process.kill()
    await child.worker.until_closed()
    await asyncio.to_thread(_wait_gone, pid)
    asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)


def _wait_gone(pid: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(60)


async def test_an_app_that_cannot_be_loaded_ends_the_supervisor_with_the_reason(supervised: Supervised) -> None:
    running = await supervised("from aioqueue import Queue\nqueue = Queue()\nimport lib_that_is_missing\n")
    output = await running.output()
    assert running.process.returncode == 1
    assert output.startswith("app_not_found: cannot load 'shop:queue': importing shop failed with ModuleNotFoundError")
    assert "shop.py line 3" in output
    assert len(output.splitlines()) == 1


async def test_a_broker_in_one_process_is_refused_with_what_to_do(supervised: Supervised) -> None:
    running = await supervised(url="sqlite:jobs.db")
    output = await running.output()
    assert running.process.returncode == 1
    assert output.startswith("bad_url: ")
    assert "aioqueue serve" in output


async def test_a_broker_s_lasting_refusal_ends_the_supervisor(supervised: Supervised, broker: FakeBroker) -> None:
    refusing = await broker_that_refuses(broker)
    running = await supervised()
    running._greeting.cancel()
    output = await running.output()
    refusing.cancel()
    assert running.process.returncode == 1
    assert output == "history_lost: confirmed history is missing\n"


async def broker_that_refuses(broker: FakeBroker) -> asyncio.Task[None]:
    async def refuse() -> None:
        while True:
            peer = await broker.accept()
            await peer.expect(m.Hello)
            peer.send(m.Refusal(0, "history_lost", "confirmed history is missing"))

    return asyncio.create_task(refuse())


@pytest.mark.slow
async def test_children_that_die_again_and_again_at_once_end_the_supervisor(supervised: Supervised) -> None:
    running = await supervised("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    output = await running.output()
    assert running.process.returncode == 1
    assert output == (
        "crash_loop: the worker of shop:queue died 5 times in a row before it was ready, "
        "the last time it was killed by SIGKILL\n"
    )


class Mortal:
    """A child by name only. It is ready or not, and dies when it is told."""

    pid = 0
    failure = None
    heartbeats: tuple[Any, ...] = ()

    def __init__(self, ready: bool) -> None:
        self.ready = ready
        self.end = asyncio.Event()

    async def run(self, on_ready: Callable[[], None]) -> str:
        if self.ready:
            on_ready()
        await self.end.wait()
        return "was killed by SIGKILL"

    def stop(self, hurry: bool) -> None:
        self.end.set()

    def left_behind(self, end: str) -> list[str]:
        return []

    async def aclose(self) -> None: ...


async def test_a_supervisor_goes_on_while_any_of_its_children_is_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    started: dict[str, asyncio.Queue[Mortal]] = {"1": asyncio.Queue(), "2": asyncio.Queue()}
    working = {"1"}

    async def start(work: Work, ground: Ground) -> Mortal:
        place = work.name.rpartition("/")[2]
        child = Mortal(place in working)
        started[place].put_nowait(child)
        return child

    async def no_pause(seconds: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr("aioqueue.worker.supervisor._Child.start", start)
    supervisor = Supervisor(WorkerOptions(target="shop:queue"), 2, ground=Ground())
    monkeypatch.setattr(supervisor, "_pause", no_pause)
    running = asyncio.create_task(supervisor.run())
    at_work = await started["1"].get()
    for _ in range(3 * STARTS_MAX):
        (await started["2"].get()).end.set()
    doomed = await started["2"].get()
    # Those deaths fell into the time of the one that was at work, and are over with it.
    at_work.end.set()
    (await started["1"].get()).ready = False
    for _ in range(STARTS_MAX - 1):
        doomed.end.set()
        doomed = await started["2"].get()
    assert not running.done()
    doomed.end.set()
    with pytest.raises(CrashLoop, match="died 5 times in a row"):
        await running


async def test_a_worker_waits_for_its_broker(supervised: Supervised, broker: FakeBroker, run_of: RunOf) -> None:
    await broker.stop()
    running = await supervised()
    await broker.start()
    child = await running.child()
    assert await child.result(run_of("pid"))


async def test_a_worker_that_waits_for_its_broker_can_be_stopped_and_owes_it_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    make = Heartbeat.__init__

    def make_and_stop(heartbeat: Heartbeat, *args: Any, **options: Any) -> None:
        make(heartbeat, *args, **options)
        supervisor.stop()

    (tmp_path / "shop.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setattr(Heartbeat, "__init__", make_and_stop)
    supervisor = Supervisor(WorkerOptions(target="shop:queue", url="tcp://127.0.0.1:1"), ground=Ground())
    assert await supervisor.run() == 0
    assert "could not be told" not in caplog.text
