"""By when runs must be over, with a clock of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from aioqueue.protocol import messages as m
from aioqueue.protocol.extras import Key, packed
from aioqueue.worker.bounds import MARGIN_MS, Bounds
from aioqueue.worker.deadlines import Deadlines
from aioqueue.worker.endings import Stop


class Scene:
    """Bounds, and who was stopped."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.stopped: list[tuple[m.DeliverItem, Stop]] = []
        self.deadlines = Deadlines(lambda: self.now_ms * 1_000_000)
        self.bounds = Bounds(self.deadlines, lambda item, why: self.stopped.append((item, why)))

    def add(self, item: m.DeliverItem) -> m.DeliverItem:
        self.bounds.add(item, item.extra or {})
        return item

    def pass_by(self, ms: int) -> None:
        self.now_ms += ms
        self.deadlines.fire()


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    scene.deadlines.close()


def run(job: bytes, fence: int, deadline_ms: int) -> m.DeliverItem:
    return m.DeliverItem(job * 16, fence, 1, "send", b"", b"", extra=packed({Key.DEADLINE: deadline_ms}))


async def test_a_run_is_stopped_a_little_after_the_broker_would_have_said_so(scene: Scene) -> None:
    item = scene.add(run(b"a", 1, 1_000))
    scene.pass_by(1_000 + MARGIN_MS - 1)
    assert scene.stopped == []
    scene.pass_by(1)
    assert scene.stopped == [(item, Stop.DEADLINE)]


async def test_a_run_without_a_deadline_is_not_kept(scene: Scene) -> None:
    scene.add(run(b"a", 1, 0))
    assert len(scene.bounds) == 0


async def test_a_run_that_is_over_is_not_stopped(scene: Scene) -> None:
    scene.bounds.drop(scene.add(run(b"a", 1, 1_000)))
    scene.pass_by(10_000)
    assert (scene.stopped, len(scene.bounds)) == ([], 0)


async def test_the_end_of_a_run_leaves_alone_the_deadline_of_another_journal_s_run_with_the_same_fence(
    scene: Scene,
) -> None:
    before = scene.add(run(b"a", 7, 60_000))
    after = scene.add(run(b"b", 7, 1_000))
    scene.bounds.drop(before)
    scene.pass_by(10_000)
    assert scene.stopped == [(after, Stop.DEADLINE)]
