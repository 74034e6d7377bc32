"""The registry of tasks at the broker: what workers declare is kept over restarts, and read page by page."""

from __future__ import annotations

import pytest

from aioqueue.broker.peers import control
from aioqueue.model.registry import TaskDescription, digest_of, pack_description
from aioqueue.protocol import messages as m
from tests.broker.conftest import House, Script, running


def described(queue: str = "mail", name: str = "shop.send") -> m.TaskBody:
    return m.TaskBody(name, pack_description(name, TaskDescription(queue)))


async def declare(worker: Script, *tasks: m.TaskBody, up_ms: int = 0) -> list[int]:
    """What of it is wanted."""
    declared = [m.DeclaredTask(task.name, digest_of(task.body)) for task in tasks]
    worker.say(m.Declare(worker.ask(), up_ms, declared))
    return (await worker.hear(m.Declared)).wanted


async def describe(worker: Script, *tasks: m.TaskBody) -> m.Declared:
    worker.say(m.DescribeTasks(worker.ask(), list(tasks)))
    return await worker.hear(m.Declared)


async def page(client: Script, **asked: object) -> m.ControlPage:
    client.say(m.ListControl(client.ask(), **asked))  # type: ignore[arg-type]
    return await client.hear(m.ControlPage)


async def test_what_a_worker_describes_is_read_by_a_client_and_kept_over_a_restart(house: House) -> None:
    task = described()
    async with running(house) as at:
        worker = await at.peer(m.Role.WORKER)
        assert await declare(worker, task) == [0]
        answer = await describe(worker, task)
        assert (answer.wanted, answer.position) == ([], at.broker.engine.position)
        assert await declare(worker, task) == []
    async with running(house) as at:
        assert await declare(await at.peer(m.Role.WORKER), task) == []
        listed = await page(await at.peer())
    [entry] = listed.tasks
    assert (entry.name, entry.body, entry.digest) == (task.name, task.body, digest_of(task.body))
    assert entry.used_ms > 0
    assert (listed.more, listed.total) == (False, 1)


async def test_a_thousand_workers_that_come_back_write_nothing(house: House) -> None:
    async with running(house) as at:
        worker = await at.peer(m.Role.WORKER)
        await declare(worker, described())
        await describe(worker, described())
        position = at.broker.engine.position
        for _ in range(5):
            again = await at.peer(m.Role.WORKER)
            assert await declare(again, described()) == []
        assert at.broker.engine.position == position


async def test_a_worker_of_the_release_before_changes_nothing(house: House) -> None:
    async with running(house) as at:
        newer, older = await at.peer(m.Role.WORKER), await at.peer(m.Role.WORKER)
        await declare(newer, described("new"), up_ms=1_000)
        await describe(newer, described("new"))
        assert await declare(older, described("old"), up_ms=60_000) == []
        await describe(older, described("old"))
        assert [entry.body for entry in (await page(await at.peer())).tasks] == [described("new").body]


async def test_a_description_is_known_by_its_own_digest_whatever_was_declared(house: House) -> None:
    async with running(house) as at:
        worker = await at.peer(m.Role.WORKER)
        worker.say(m.Declare(worker.ask(), 0, [m.DeclaredTask("shop.send", b"another")]))
        assert (await worker.hear(m.Declared)).wanted == [0]
        await describe(worker, described())
        assert await declare(worker, described()) == []


async def test_a_list_comes_page_by_page_or_by_names(house: House) -> None:
    async with running(house) as at:
        worker, client = await at.peer(m.Role.WORKER), await at.peer()
        tasks = [described(name=f"t{number}") for number in range(5)]
        await describe(worker, *reversed(tasks))
        first = await page(client, limit=2)
        assert ([each.name for each in first.tasks], first.more, first.total) == (["t0", "t1"], True, 5)
        rest = await page(client, after="t1", names_only=True)
        assert [(each.name, each.body) for each in rest.tasks] == [("t2", b""), ("t3", b""), ("t4", b"")]
        assert not rest.more
        some = await page(client, names=["t4", "nobody", "t0"])
        assert ([each.name for each in some.tasks], some.total) == (["t0", "t4"], 5)


async def test_a_page_is_bounded_by_the_bytes_of_its_descriptions(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(described(name="t0").body)
    monkeypatch.setattr(control, "CONTROL_BYTES_MAX", 2 * size)
    async with running(house) as at:
        worker, client = await at.peer(m.Role.WORKER), await at.peer()
        await describe(worker, *(described(name=f"t{number}") for number in range(5)))
        names: list[str] = []
        while (listed := await page(client, after=names[-1] if names else "")).more:
            assert len(listed.tasks) == 2
            names += [each.name for each in listed.tasks]
        assert names + [each.name for each in listed.tasks] == ["t0", "t1", "t2", "t3", "t4"]


async def test_a_namespace_reads_its_own_tasks_only(house: House) -> None:
    async with running(house) as at:
        worker = await at.peer(m.Role.WORKER)
        await describe(worker, described())
        stranger = await at.peer(namespace="other")
        listed = await page(stranger)
        assert (listed.tasks, listed.total) == ([], 0)


async def test_a_list_of_what_is_not_known_is_refused(house: House) -> None:
    async with running(house) as at:
        client = await at.peer()
        client.say(m.ListControl(client.ask(), 99))
        refused = await client.hear(m.Refusal)
        assert (refused.code, refused.request) == ("unsupported", 1)


async def test_a_full_registry_says_so_in_the_brokers_log(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("aioqueue.core.decide.registry.TASKS_MAX", 1)
    async with running(house) as at:
        worker = await at.peer(m.Role.WORKER)
        await describe(worker, described(name="a"), described(name="b"))
    assert "the registry of tasks is full: 1 tasks" in caplog.text
