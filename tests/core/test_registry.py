"""The registry of tasks: whose declaration holds, what is not worth an event, and what lapses."""

from __future__ import annotations

from typing import Any

import pytest

from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core import homes
from aioqueue.core.decide import registry as deciding
from aioqueue.core.invariants import History
from aioqueue.core.machine import IllegalChange
from aioqueue.core.named import Item, ItemKind
from aioqueue.core.partition import Partition
from aioqueue.core.records import decode_events
from aioqueue.core.registry import task_bytes
from aioqueue.core.salvage import Rescue
from aioqueue.limits import LAPSE_GRACE_MS, LAPSED_MAX, TASK_UNUSED_MS
from tests.support.scene import NAMESPACE, Scene, kinds, new_job

KEY = (NAMESPACE, "shop.send")


@pytest.fixture(autouse=True)
def homes_are_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "HOME_POSITIONS", 1)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def digest(version: int) -> bytes:
    return b"digest %d" % version


def declare(scene: Scene, version: int, up_ms: int = 0, name: str = "shop.send") -> list[int]:
    wanted: list[int] = scene.ask(c.DeclareTasks(NAMESPACE, [(name, digest(version))], up_ms))
    return wanted


def describe(scene: Scene, version: int, up_ms: int = 0, name: str = "shop.send") -> int:
    task = c.DescribedTask(name, digest(version), b"version %d" % version)
    left_out: int = scene.ask(c.SetTasks(NAMESPACE, [task], up_ms))
    return left_out


def version_of(scene: Scene, name: str = "shop.send") -> bytes | None:
    task = scene.partition.state.registry.find((NAMESPACE, name))
    return None if task is None else task.body


def set_events(scene: Scene) -> list[e.TaskSet]:
    events = [event for batch in scene.batches for event in decode_events(batch.events, "scene")]
    return [event for event in events if isinstance(event, e.TaskSet)]


# --- declaring ----------------------------------------------------------------------------------------------------


def test_a_task_that_is_not_known_is_wanted_and_kept(scene: Scene) -> None:
    assert declare(scene, 1) == [0]
    assert describe(scene, 1) == 0
    assert version_of(scene) == b"version 1"
    assert declare(scene, 1) == []


def test_one_without_a_digest_is_not_wanted(scene: Scene) -> None:
    assert scene.ask(c.DeclareTasks(NAMESPACE, [("shop.send", b"")], 0)) == []


def test_what_is_known_already_makes_no_event_however_often_it_is_declared(scene: Scene) -> None:
    declare(scene, 1)
    describe(scene, 1)
    position = scene.position
    for up_ms in (0, 5_000, 0):
        scene.clock.advance(1_000)
        assert declare(scene, 1, up_ms) == []
        describe(scene, 1, up_ms)
    assert scene.position == position


def test_another_declaration_takes_the_place_of_the_one_before(scene: Scene) -> None:
    describe(scene, 1)
    scene.clock.advance(1_000)
    assert declare(scene, 2) == [0]
    describe(scene, 2)
    assert version_of(scene) == b"version 2"


@pytest.mark.parametrize("older_first", [True, False])
def test_the_process_that_started_later_wins_in_whatever_order_the_two_come(scene: Scene, older_first: bool) -> None:
    scene.clock.advance(60_000)
    comers = [(1, 50_000), (2, 10_000)]
    for version, up_ms in comers if older_first else reversed(comers):
        if declare(scene, version, up_ms):
            describe(scene, version, up_ms)
    assert version_of(scene) == b"version 2"
    # It comes again, and again it is the older one.
    assert declare(scene, 1, 50_000) == []
    describe(scene, 1, 50_000)
    assert version_of(scene) == b"version 2"


def test_a_release_that_was_taken_back_holds_against_the_one_that_it_replaces(scene: Scene) -> None:
    scene.clock.advance(60_000)
    describe(scene, 1, 50_000)
    describe(scene, 2, 40_000)
    describe(scene, 1, 30_000)
    assert version_of(scene) == b"version 1"
    assert declare(scene, 2, 40_000) == []


def test_who_declares_the_same_later_holds_it_against_those_in_between(scene: Scene) -> None:
    scene.clock.advance(60_000)
    describe(scene, 1, 50_000)
    declare(scene, 1, 10_000)
    assert declare(scene, 2, 30_000) == []


def test_where_the_clock_was_set_back_who_comes_last_has_a_say(scene: Scene) -> None:
    describe(scene, 1)
    scene.clock.jump(-3_600_000)
    assert declare(scene, 2) == [0]
    describe(scene, 2)
    assert version_of(scene) == b"version 2"


def test_namespaces_know_nothing_of_each_other(scene: Scene) -> None:
    describe(scene, 1)
    task = c.DescribedTask("shop.send", digest(2), b"version 2")
    scene.ask(c.SetTasks("other", [task], 0))
    assert version_of(scene) == b"version 1"
    assert scene.partition.state.registry.of("other")["shop.send"].body == b"version 2"
    assert scene.partition.state.registry.of("third") == {}


def test_more_tasks_than_a_namespace_may_have_are_left_out_and_counted(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "TASKS_MAX", 2)
    tasks = [c.DescribedTask(f"t{n}", digest(1), b"1") for n in range(5)]
    assert scene.ask(c.DeclareTasks(NAMESPACE, [(task.name, task.digest) for task in tasks], 0)) == [0, 1, 2, 3, 4]
    assert scene.ask(c.SetTasks(NAMESPACE, tasks, 0)) == 3
    assert list(scene.partition.state.registry.of(NAMESPACE)) == ["t0", "t1"]
    # None of those is asked for again, and those that are there may change.
    assert scene.ask(c.DeclareTasks(NAMESPACE, [(task.name, digest(2)) for task in tasks], 0)) == [0, 1]
    assert scene.ask(c.SetTasks(NAMESPACE, [c.DescribedTask("t1", digest(2), b"22")], 0)) == 0


def test_all_namespaces_together_have_a_bound(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "TASKS_BYTES_MAX", 2 * task_bytes(b"1"))
    for number, namespace in enumerate(("one", "two", "three")):
        left_out = scene.ask(c.SetTasks(namespace, [c.DescribedTask("t", digest(1), b"1")], 0))
        assert left_out == (number == 2)


# --- the log ------------------------------------------------------------------------------------------------------


def test_a_task_is_carried_by_the_event_that_set_it(scene: Scene) -> None:
    describe(scene, 1)
    scene.clock.advance(1_000)
    declare(scene, 1, 500)
    home = scene.partition.state.registry.of(NAMESPACE)["shop.send"].home
    step = scene.step(c.CarryItems([], [c.CarriedItem(Item(ItemKind.TASK, KEY), home)]))
    assert kinds(step) == ["TaskSet"]
    first, again = set_events(scene)
    assert (again.digest, again.body) == (first.digest, first.body)
    # What this process knows of its use is journaled on the way.
    assert (again.started_ms, again.used_ms) == (first.started_ms + 500, first.used_ms + 1_000)
    assert kinds(scene.step(c.CarryItems([], [c.CarriedItem(Item(ItemKind.TASK, KEY), home)]))) == []


def test_a_replay_from_a_base_knows_what_was_carried(scene: Scene) -> None:
    describe(scene, 1)
    describe(scene, 1, name="shop.other")
    scene.carry()
    base = scene.position
    assert scene.move_base(base)
    replayed = scene.replayed(base)
    assert replayed.state.journaled_part() == scene.partition.state.journaled_part()
    assert replayed.state.registry.of(NAMESPACE).keys() == {"shop.send", "shop.other"}


def test_the_base_does_not_move_past_a_task(scene: Scene) -> None:
    describe(scene, 1)
    scene.submit(new_job(1))
    assert not scene.move_base(scene.position)


def test_items_are_found_by_their_homes_and_not_by_a_look_at_all_of_them(scene: Scene) -> None:
    describe(scene, 1)
    first = scene.position
    for version in range(2, 6):
        describe(scene, version, name=f"t{version}")
    assert scene.partition.state.homes.named_in(first, first) == [Item(ItemKind.TASK, KEY)]


# --- lapsing ------------------------------------------------------------------------------------------------------


def lapse(scene: Scene) -> list[str]:
    scene.clock.advance(LAPSE_GRACE_MS)
    return kinds(scene.step())


def test_a_task_that_nobody_declares_any_more_lapses_by_an_event(scene: Scene) -> None:
    describe(scene, 1)
    scene.clock.advance(TASK_UNUSED_MS - 1)
    assert kinds(scene.step()) == []
    scene.clock.advance(1)
    assert kinds(scene.step()) == ["ItemsLapsed"]
    assert version_of(scene) is None
    assert scene.partition.state.homes.named() == {}


def test_one_that_is_declared_again_stays_and_is_seldom_written_again(scene: Scene) -> None:
    describe(scene, 1)
    for _ in range(3):
        scene.clock.advance(TASK_UNUSED_MS // 2)
        declare(scene, 1)
    assert version_of(scene) == b"version 1"
    assert len(set_events(scene)) == 3


def test_one_that_a_worker_has_declared_stays_for_as_long_as_the_worker_does(scene: Scene) -> None:
    worker = scene.session()
    scene.ask(c.DeclareOffer(worker, tasks=(("shop.send", 0),)))
    describe(scene, 1)
    describe(scene, 1, name="shop.other")
    for _ in range(2):
        scene.clock.advance(TASK_UNUSED_MS)
        scene.step(c.HearSession(worker))
    assert (version_of(scene), version_of(scene, "shop.other")) == (b"version 1", None)
    scene.ask(c.EndSession(worker, c.SessionEnd.GOODBYE))
    scene.clock.advance(TASK_UNUSED_MS)
    assert kinds(scene.step()) == ["ItemsLapsed"]


def test_nothing_lapses_before_those_who_use_it_had_time_to_come_back(scene: Scene) -> None:
    describe(scene, 1)
    scene.clock.advance(TASK_UNUSED_MS)
    scene.restart()
    scene.clock.advance(LAPSE_GRACE_MS - 1)
    assert kinds(scene.step()) == []
    due = scene.partition.next_due(scene.clock.now())
    assert due is not None
    assert due <= 1
    declare(scene, 1)
    assert lapse(scene) == ["TaskSet"]
    scene.restart()
    assert lapse(scene) == []


def test_very_many_lapse_in_parts(scene: Scene) -> None:
    tasks = [c.DescribedTask(f"t{n}", digest(1), b"1") for n in range(LAPSED_MAX + 10)]
    for start in (0, 100, 200):
        scene.ask(c.SetTasks(NAMESPACE, tasks[start : start + 100], 0))
    scene.clock.advance(TASK_UNUSED_MS)
    first, second, third = scene.step(), scene.step(), scene.step()
    assert [len(event.tasks) for step in (first, second) for event in step.events] == [LAPSED_MAX, 10]  # type: ignore[union-attr]
    assert (first.more, second.more, third.events) == (True, False, [])


def test_a_lapse_is_replayed_whatever_the_clock_says_then(scene: Scene) -> None:
    describe(scene, 1)
    scene.clock.advance(TASK_UNUSED_MS)
    assert kinds(scene.step()) == ["ItemsLapsed"]
    scene.clock.jump(-2 * TASK_UNUSED_MS)
    scene.submit(new_job(1))
    assert scene.replayed(1).state.registry.find(KEY) is None


def test_what_lapses_and_is_not_there_is_no_history() -> None:
    partition = Partition()
    with pytest.raises(IllegalChange, match=r"task shop\.send"):
        partition.replay([e.ItemsLapsed((KEY,))], b"", 1, 0)


# --- judges and rescue ----------------------------------------------------------------------------------------------


def task_set(version: int, started_ms: int, used_ms: int, name: str = "shop.send") -> e.TaskSet:
    return e.TaskSet(NAMESPACE, name, digest(version), b"version %d" % version, started_ms, used_ms)


@pytest.mark.parametrize(
    ("batches", "promise"),
    [
        ([(10, task_set(2, 9, 10)), (20, task_set(1, 8, 20))], "I2: what an older process declared"),
        (
            [(10, task_set(1, 9, 10)), (20, e.TaskSet(*KEY, digest(1), b"other", 9, 20))],
            "I2: task shop.send is written",
        ),
        ([(10, task_set(1, 9, 10)), (20, task_set(1, 9, 5))], "I2: task shop.send is written again"),
        ([(10, e.ItemsLapsed((KEY,)))], "I2: task shop.send lapses, and is not there"),
        ([(10, task_set(1, 9, 10)), (9 + TASK_UNUSED_MS, e.ItemsLapsed((KEY,)))], "I9: task shop.send"),
    ],
)
def test_a_journal_that_breaks_a_promise_of_the_registry_is_judged(batches: list[Any], promise: str) -> None:
    history = History()
    for position, (wall_ms, event) in enumerate(batches, 1):
        history.observe([event], wall_ms, position)
    [found] = history.violations
    assert found.startswith(promise)


def test_what_was_set_behind_a_gap_is_kept_and_what_lapsed_there_is_not() -> None:
    partition = Partition()
    partition.replay([task_set(1, 1, 1, "kept"), task_set(1, 1, 1, "changed"), task_set(1, 1, 1, "gone")], b"", 1, 1)
    rescue = Rescue(partition)
    rescue.take([task_set(2, 2, 2, "changed"), task_set(1, 2, 2, "new"), task_set(1, 2, 2, "brief")], b"", 2)
    rescue.take([e.ItemsLapsed(((NAMESPACE, "gone"), (NAMESPACE, "brief"), (NAMESPACE, "never heard of")))], b"", 3)
    batches = list(rescue.batches(1, 4))
    assert {task.name: task.digest for task in partition.state.registry} == {
        "kept": digest(1), "changed": digest(2), "new": digest(1),
    }  # fmt: skip
    assert [type(event).__name__ for batch in batches for event in batch.events] == [
        "ItemsLapsed",
        "TaskSet",
        "TaskSet",
    ]
