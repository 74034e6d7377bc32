"""Pages of living jobs, over a partition on a table."""

from __future__ import annotations

import pytest

from aioqueue.broker.pages import living_page
from aioqueue.core import commands as c
from aioqueue.errors import BadOption
from aioqueue.model.spec import RetryPolicy
from tests.support.scene import NAMESPACE, Scene, job_id, new_job

ANY = (NAMESPACE, (), "", "")


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


def page(scene: Scene, after: bytes = b"") -> tuple[list[bytes], bytes]:
    """The next two jobs and the cursor behind them."""
    found = living_page(scene.partition.state, ANY, 2, after)
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


@pytest.mark.parametrize("after", [b"L", b"L" + bytes(23), b"L" + bytes(25), b"?" + bytes(24)])
def test_what_no_page_gave_is_refused_as_a_cursor(scene: Scene, after: bytes) -> None:
    with pytest.raises(BadOption):
        page(scene, after)
