"""Where a thread is, told from its stack while it stays there."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from aioqueue.limits import PLACE_CHARACTERS_MAX
from aioqueue.worker.stacks import place_of

Stay = Callable[[], None]


class Stayer:
    """A thread that stays in some code until the test has looked at it."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._leave = threading.Lock()

    def place(self, code: Callable[[Stay], object]) -> str:
        """Where a thread is that runs this code, once it stays in the call of its argument."""
        self._leave.acquire()
        arrived: list[int] = []
        here = threading.Event()

        def run() -> None:
            arrived.append(threading.get_ident())
            code(stay)

        def stay() -> None:
            here.set()
            with self._leave:
                pass

        running = self._pool.submit(run)
        assert here.wait(60)
        place = place_of(arrived[0])
        self._leave.release()
        running.result(60)
        return place


@pytest.fixture
def stayer() -> Iterator[Stayer]:
    with ThreadPoolExecutor(1) as pool:
        yield Stayer(pool)


def test_the_innermost_line_of_the_program_is_named(stayer: Stayer) -> None:
    assert re.search(r"tests/worker/test_stacks\.py:\d+ in Stayer\.place\.<locals>\.stay$", stayer.place(_call))


def _call(stay: Stay) -> None:
    stay()


def test_the_library_that_runs_is_named_after_the_line_that_called_it() -> None:
    gate, begun = threading.Event(), threading.Event()
    ident: list[int] = []

    def wait_for_gate() -> None:
        ident.append(threading.get_ident())
        begun.set()
        gate.wait()

    thread = threading.Thread(target=wait_for_gate)
    thread.start()
    begun.wait()
    while "wait" not in (place := place_of(ident[0])).partition(", in ")[2]:
        pass
    gate.set()
    thread.join()
    assert re.match(r"tests/worker/test_stacks\.py:\d+ in .*wait_for_gate, in threading\.py:\d+ in ", place)


def test_an_event_loop_that_waits_is_in_nobody_s_code() -> None:
    loop = asyncio.SelectorEventLoop()
    ident: list[int] = []
    running = threading.Event()

    async def serve() -> None:
        ident.append(threading.get_ident())
        running.set()
        await asyncio.Event().wait()

    def begin() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner, pytest.raises(asyncio.CancelledError):
            runner.run(serve())

    thread = threading.Thread(target=begin)
    thread.start()
    running.wait()
    while place_of(ident[0]):
        pass
    loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
    thread.join()


def test_a_thread_that_is_gone_is_nowhere() -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert place_of(thread.ident or 0) == ""


@pytest.mark.parametrize("name", ["x" * 2_000, "f\udce9"])
def test_a_place_is_text_of_bounded_length_whatever_the_file_is_called(name: str, stayer: Stayer) -> None:
    scope: dict[str, Callable[[Stay], object]] = {}
    exec(compile("def call(stay):\n    sum(1 for _ in iter(stay, None))", f"/srv/{name}.py", "exec"), scope)
    place = stayer.place(scope["call"])
    assert place.encode()
    assert len(place) <= PLACE_CHARACTERS_MAX
