"""Names that somebody invents (namespaces, queues, tasks, workers) do not stay in a broker's memory."""

from __future__ import annotations

import functools
import gc
import importlib
import pkgutil
from collections import Counter, deque
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioqueue.broker import names as names_module
from aioqueue.broker import statistics
from aioqueue.broker.names import QUEUE_BYTES, TASK_BYTES, Names
from aioqueue.broker.translate import submits
from aioqueue.core import levels
from aioqueue.core import state as state_module
from aioqueue.core.decide import registry as registry_module
from aioqueue.core.nouns import offer as offer_module
from aioqueue.core.registry import task_bytes
from aioqueue.model.bodies import pack_failure
from aioqueue.model.spec import RetryPolicy
from aioqueue.model.views import Failure
from aioqueue.protocol import messages as m
from tests.broker.conftest import House, Running, item, running

# What may stay of each kind of name, in place of the thousands that are usual.
KEPT = 8
FAILURE = pack_failure(Failure("ValueError", "no", "", False))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_module, "QUEUES_IDLE_MAX", KEPT)
    monkeypatch.setattr(state_module, "_SPECS_INTERNED_MAX", KEPT)
    monkeypatch.setattr(submits, "_SPECS_KNOWN_MAX", KEPT)
    monkeypatch.setattr(levels, "_PACKED_LOOKED_AT", KEPT)
    monkeypatch.setattr(statistics, "FAILURES_NAMESPACES_MAX", KEPT)
    monkeypatch.setattr(registry_module, "TASKS_BYTES_MAX", KEPT * task_bytes(b"{}"))


def containers(root: object) -> Counter[str]:
    """How many entries all containers have that are reached from there, by the attribute that holds them."""
    found: Counter[str] = Counter()
    seen: set[int] = set()
    waiting = [(type(root).__name__, root)]
    while waiting:
        path, value = waiting.pop()
        if id(value) in seen or isinstance(value, (str, bytes, int, float, type, ModuleType, type(None))):
            continue
        seen.add(id(value))
        if isinstance(value, (dict, list, set, frozenset, tuple, deque, Counter)):
            found[path] += len(value)
            inner = [*value, *value.values()] if isinstance(value, dict) else list(value)
            waiting += [(path, each) for each in inner]
        elif type(value).__module__.startswith("aioqueue"):
            names = {*getattr(value, "__dict__", ()), *_slots(type(value)), *getattr(value, "__struct_fields__", ())}
            # What is to be kept is the archive's, and the journal's; both are on a disk.
            kept = {name for name in names if hasattr(value, name)} - {"_archive", "archive", "_journal", "journal"}
            waiting += [(f"{type(value).__name__}.{name}", getattr(value, name)) for name in kept]
    return found


def _slots(kind: type) -> Iterator[str]:
    for each in kind.__mro__:
        slots = getattr(each, "__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots


async def live_and_end(at: Running, number: int) -> None:
    """A namespace, queue, task and worker of names that nobody else has: a job fails, and all of them go."""
    namespace, queue, task = f"namespace-{number}", f"queue-{number}", f"task-{number}"
    client = await at.peer(namespace=namespace, name=f"client-{number}")
    worker = await at.peer(m.Role.WORKER, namespace=namespace, name=f"worker-{number}")
    worker.say(m.Declare(worker.ask(), 0, [m.DeclaredTask(task, bytes(16))], [f"label-{number}"]))
    await worker.hear(m.Declared)
    worker.say(m.DescribeTasks(worker.ask(), [m.TaskBody(task, b"{}")]))
    await worker.hear(m.Declared)
    worker.say(m.Capacity(1, [queue, f"other-{number}"]))
    client.say(m.Watch())
    await client.submit(item(queue, namespace=namespace, task=task, retry=RetryPolicy(attempts=1)))
    [run] = await worker.runs()
    await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.FAILED, FAILURE))
    for peer in (client, worker):
        peer.say(m.Goodbye())
        await peer.connection.flush()
        await peer.connection.aclose()


async def until_nobody(at: Running) -> None:
    services = at.broker.services
    while services.seats.present or services.engine.partition.state.sessions:
        await services.engine.answered()


async def test_nothing_in_a_broker_grows_with_the_names_that_come_and_go(house: House) -> None:
    async with running(house) as at:
        sizes = []
        for first in (0, 30, 130):
            for number in range(first, first + (30, 100, 100)[len(sizes)]):
                await live_and_end(at, number)
            await until_nobody(at)
            gc.collect()
            sizes.append(containers(at.broker))
        _, before, after = sizes
        # Up to one more of each that may stay, for a set that is cleared at its bound may be at any size below it.
        grown = {path: (before[path], size) for path, size in after.items() if size > before[path] + 4 * KEPT}
    assert grown == {}
    assert after["State.queues"] <= 3 * KEPT
    assert after["Statistician._failures"] <= 50 * KEPT


def test_what_modules_remember_by_themselves_is_bounded() -> None:
    rooms = ("broker", "core", "model", "protocol", "transport", "journal", "archive")
    names = [
        found.name
        for room in rooms
        for found in pkgutil.walk_packages(importlib.import_module(f"aioqueue.{room}").__path__, f"aioqueue.{room}.")
    ]
    unbounded = {
        f"{value.__module__}.{key}"
        for name in names
        for key, value in vars(importlib.import_module(name)).items()
        if isinstance(value, functools._lru_cache_wrapper) and value.cache_parameters()["maxsize"] is None
    }
    by_type = {"aioqueue.core.levels._fields", "aioqueue.model.growth._inner_places", "aioqueue.model.growth._defaults"}
    by_size_of_a_page = {"aioqueue.journal.wal._factors"}
    assert unbounded <= by_type | by_size_of_a_page


async def test_what_workers_declare_is_forgotten_with_them(house: House) -> None:
    async with running(house) as at:
        for number in range(20):
            await live_and_end(at, number)
        await until_nobody(at)
        gc.collect()
        assert len(offer_module._INTERNED) == 0


# --- what workers declare while they are there --------------------------------------------------------------------


def queues_of(number: int) -> list[str]:
    return [f"queue-{number}-{place}" for place in range(10)]


async def test_workers_that_declare_the_same_share_its_memory_and_others_are_bounded(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names_module, "NAMES_BYTES_MAX", 25 * (QUEUE_BYTES + 20))
    async with running(house) as at:
        names = at.broker.services.seats.names
        first, *same = [await at.peer(m.Role.WORKER) for _ in range(4)]
        for worker in (first, *same):
            worker.say(m.Capacity(1, queues_of(0)))
        other, one_more = await at.peer(m.Role.WORKER), await at.peer(m.Role.WORKER)
        other.say(m.Capacity(1, queues_of(1)))
        await at.broker.engine.answered()
        one_more.say(m.Capacity(1, queues_of(2)))
        refusal = await one_more.hear(m.Refusal)
        assert (refusal.request, refusal.code) == (0, "too_many_names")
        assert names.size == 20 * (QUEUE_BYTES + len("queue-0-0"))
        # It has other queues now, in place of those.
        other.say(m.Capacity(1, ["mail"]), m.Ping(1))
        await other.hear(m.Pong)
        last = await at.peer(m.Role.WORKER)
        last.say(m.Capacity(1, queues_of(2)), m.Ping(1))
        await last.hear(m.Pong)


async def test_names_go_with_the_last_session_that_declared_them(house: House) -> None:
    async with running(house) as at:
        names = at.broker.services.seats.names
        workers = [await at.peer(m.Role.WORKER) for _ in range(2)]
        for worker in workers:
            worker.say(m.Declare(1, 0, [m.DeclaredTask("task")]), m.Capacity(1, ["mail"]), m.Ping(1))
            await worker.hear(m.Pong)
        size = names.size
        assert size == QUEUE_BYTES + len("mail") + TASK_BYTES + len("task")
        for worker, left in zip(workers, (size, 0), strict=True):
            session = worker.welcome.session
            worker.say(m.Goodbye())
            await worker.connection.flush()
            while session in at.broker.engine.partition.state.sessions:
                await at.broker.engine.answered()
            assert names.size == left


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["", "a", "ab", "b"]), st.booleans()), max_size=40))
def test_the_size_is_that_of_the_lists_that_any_session_has_now(steps: list[tuple[int, str, bool]]) -> None:
    names, declared = Names(), dict[int, str]()
    for session, queues, over in steps:
        if over:
            names.forget(session)
            declared.pop(session, None)
        else:
            assert names.hold(session, tuple(queues), QUEUE_BYTES) == tuple(queues)
            declared[session] = queues
        assert names.size == sum(len(queues) * (QUEUE_BYTES + 1) for queues in set(declared.values()))
