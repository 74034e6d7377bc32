"""Pages of living jobs, over a partition on a table."""

from __future__ import annotations

import random
from typing import Any

import pytest

from aioqueue.archive.base import JobFilter
from aioqueue.broker.pages import Listings
from aioqueue.core import commands as c
from aioqueue.errors import BadOption
from aioqueue.model.spec import RetryPolicy
from aioqueue.model.states import JobState
from tests.support.scene import NAMESPACE, Scene, job_id, new_job

ANY = JobFilter(NAMESPACE)


@pytest.fixture
def scene() -> Scene:
    """Four jobs, a millisecond apart."""
    scene = Scene()
    for number in (1, 2, 3, 4):
        scene.submit(new_job(number, retry=RetryPolicy(attempts=2, base_ms=0)))
        scene.clock.advance(1)
    return scene


def ids(*numbers: int) -> list[bytes]:
    return [job_id(number) for number in numbers]


def page(scene: Scene, after: bytes = b"", listings: Listings | None = None) -> tuple[list[bytes], bytes]:
    """The next two jobs and the cursor behind them; without `listings` as at a broker that held no list."""
    found = (listings or Listings(scene.partition.state)).page(ANY, 2, after)
    return [info.id for info in found.jobs], found.following


def test_pages_give_the_newest_first_and_each_once(scene: Scene) -> None:
    first, after = page(scene)
    second, after = page(scene, after)
    assert (first, second, page(scene, after)) == (ids(4, 3), ids(2, 1), ([], b""))


def test_a_job_that_was_tried_again_keeps_its_place_in_a_list(scene: Scene) -> None:
    session = scene.worker(slots=1)
    scene.ask(c.OfferCapacity(session, 0, ("default",)))
    scene.settle(session, 1, c.RunEnd.FAILED)
    scene.step()
    first, after = page(scene)
    assert (first, page(scene, after)[0]) == (ids(4, 3), ids(2, 1))


def test_a_page_goes_on_behind_a_job_that_has_ended_since(scene: Scene) -> None:
    _, after = page(scene)
    scene.ask(c.CancelJob(job_id(3), NAMESPACE))
    assert page(scene, after)[0] == ids(2, 1)


def test_a_page_goes_on_behind_a_job_that_was_submitted_again_since(scene: Scene) -> None:
    _, after = page(scene)
    scene.ask(c.CancelJob(job_id(3), NAMESPACE))
    scene.ask(c.RequeueJob(job_id(3), NAMESPACE))
    assert page(scene, after)[0] == ids(2, 1)


@pytest.mark.parametrize("after", [b"L", b"L" + bytes(39), b"L" + bytes(41), b"?" + bytes(40)])
def test_what_no_page_gave_is_refused_as_a_cursor(scene: Scene, after: bytes) -> None:
    with pytest.raises(BadOption):
        page(scene, after)


def all_pages(listings: Listings, where: JobFilter, limit: int) -> tuple[list[bytes], int]:
    """All ids of a list, and how many pages it took."""
    found: list[bytes] = []
    after, pages = b"", 0
    while pages == 0 or after:
        jobs, after = listings.page(where, limit, after)
        found += [info.id for info in jobs]
        pages += 1
    return found, pages


def test_a_page_looks_at_few_jobs_and_goes_on_where_it_found_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aioqueue.broker.pages.PAGE_LIVING_LOOKED_MAX", 5)
    scene = Scene()
    for number in range(1, 41):
        scene.submit(new_job(number, queue="rare" if number in (3, 39) else "default"))
    found, pages = all_pages(Listings(scene.partition.state), JobFilter(NAMESPACE, queue="rare"), 10)
    assert (found, pages) == ([job_id(39, "rare"), job_id(3, "rare")], 9)


def test_a_list_is_held_for_its_later_pages_and_dropped_at_its_end(scene: Scene) -> None:
    listings = Listings(scene.partition.state)
    assert all_pages(listings, ANY, 1) == (ids(4, 3, 2, 1), 5)
    assert not listings._held


def test_more_lists_than_are_held_go_on_all_the_same(scene: Scene) -> None:
    listings = Listings(scene.partition.state)
    cursors = [listings.page(ANY, 1, b"").following for _ in range(9)]
    for expected in (3, 2, 1):
        for index, after in enumerate(cursors):
            [info], cursors[index] = listings.page(ANY, 1, after)
            assert info.id == job_id(expected)
    assert len(listings._held) <= 4


def test_a_list_goes_on_where_the_clock_was_set_back_between_two_submits(scene: Scene) -> None:
    scene.clock.jump(-60_000)
    scene.submit(new_job(5))
    first, after = page(scene)
    second, after = page(scene, after)
    assert [*first, *second, *page(scene, after)[0]] == ids(5, 4, 3, 2, 1)


def test_a_job_of_a_held_list_that_has_ended_since_is_passed_over(scene: Scene) -> None:
    listings = Listings(scene.partition.state)
    _, after = listings.page(ANY, 1, b"")
    _, after = listings.page(ANY, 1, after)
    scene.ask(c.CancelJob(job_id(2), NAMESPACE))
    assert [info.id for info in listings.page(ANY, 1, after).jobs] == ids(1)


@pytest.mark.parametrize("seed", range(2))
def test_a_list_of_many_stretches_tells_once_of_each_job_that_lives_all_the_while(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("aioqueue.broker.pages._STRETCH_JOBS", 5)
    chance = random.Random(seed)
    scene, numbers = Scene(), iter(range(1, 1_000))

    def submit(count: int) -> set[bytes]:
        jobs = [new_job(next(numbers)) for _ in range(count)]
        for job in jobs:
            scene.submit(job)
            scene.clock.advance(1)
        return {job.id for job in jobs}

    staying = submit(30)
    listings = Listings(scene.partition.state)
    found, after = listings.page(ANY, 3, b"")
    while after:
        for job in chance.sample(sorted(scene.partition.state.jobs), min(3, len(staying))):
            scene.ask(c.CancelJob(job, NAMESPACE))
            staying.discard(job)
            if chance.random() < 0.3:
                scene.ask(c.RequeueJob(job, NAMESPACE))
        submit(chance.randrange(3))
        if chance.random() < 0.2:
            listings = Listings(scene.partition.state)
        jobs, after = listings.page(ANY, chance.choice([1, 3, 10]), after)
        found += jobs
    told = [info.id for info in found]
    assert len(told) == len(set(told))
    assert staying <= set(told)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"since_ms": 2}, ids(4, 3)),
        ({"until_ms": 2}, ids(2, 1)),
        ({"since_ms": 1, "until_ms": 2}, ids(2)),
        ({"ids": (job_id(2), job_id(3))}, ids(3, 2)),
        ({"ids": (job_id(2), job_id(2))}, ids(2)),
        ({"ids": (job_id(9), job_id(9))}, []),
        ({"states": (JobState.DEAD,)}, []),
        ({"queue": "other"}, []),
    ],
)
def test_a_page_holds_just_the_jobs_that_its_filter_asks_for(
    scene: Scene, changes: dict[str, Any], expected: list[bytes]
) -> None:
    start_ms = scene.clock.now().wall_ms - 4
    for name in ("since_ms", "until_ms"):
        if name in changes:
            changes = {**changes, name: start_ms + changes[name]}
    assert all_pages(Listings(scene.partition.state), JobFilter(NAMESPACE, **changes), 3)[0] == expected
