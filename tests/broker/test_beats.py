"""What the broker knows of event loops: from the last beats, while their connection stands."""

from __future__ import annotations

import os

from aioqueue.broker.beats import Beats
from aioqueue.limits import NUMBER_MAX
from aioqueue.model.views import Block, Statistics
from aioqueue.protocol import messages as m
from tests.broker.conftest import House, Running, Script, item, running

BLOCK = Block(b"j" * 16, "shop.send", "shop.py:7 in send", 1_200)


def test_a_block_grows_older_between_two_beats() -> None:
    beats = Beats()
    beats.take(4, m.Beat(1_300, BLOCK), 50_000)
    assert beats.blocked(4, 50_700) == Block(BLOCK.job, BLOCK.task, BLOCK.place, 1_900)
    assert beats.lag_ms(4) == 1_300


def test_a_beat_without_a_block_ends_it_and_nothing_is_known_of_others() -> None:
    beats = Beats()
    beats.take(4, m.Beat(1_300, BLOCK), 50_000)
    beats.take(4, m.Beat(2), 51_000)
    assert (beats.blocked(4, 51_000), beats.lag_ms(4)) == (None, 2)
    assert (beats.blocked(5, 51_000), beats.lag_ms(5)) == (None, 0)


async def test_the_largest_numbers_that_a_beat_can_have_are_told_and_larger_ones_are_none(house: House) -> None:
    secret = os.urandom(16)
    async with running(house) as at:
        await at.worker(1, secret=secret)
        beating = await at.peer(m.Role.HEARTBEAT, secret)
        beating.say(m.Beat(NUMBER_MAX, Block(b"", "", "app.py:1", NUMBER_MAX), NUMBER_MAX), m.Ping(1))
        await beating.hear(m.Pong)
        (worker,) = (await seen_by(at)).workers
        assert worker.blocked is not None
        assert worker.blocked.for_ms == NUMBER_MAX
        assert worker.lag_ms == worker.deaf == NUMBER_MAX
        beating.say(m.Beat(0, Block(b"", "", "app.py:1", NUMBER_MAX + 1)))
        assert (await beating.hear(m.Refusal)).code == "malformed_frame"
        assert (await seen_by(at)).sessions


def test_what_was_forgotten_is_not_told() -> None:
    beats = Beats()
    beats.take(4, m.Beat(1_300, BLOCK), 50_000)
    beats.forget(4)
    beats.forget(4)
    assert (beats.blocked(4, 50_000), beats.lag_ms(4)) == (None, 0)


async def told_of(client: Script, job: bytes) -> Block | None:
    client.say(m.GetJob(client.ask(), job))
    return (await client.hear(m.JobRecord)).info.blocked


async def deaf_at(client: Script, job: bytes) -> list[str]:
    """The workers on which a run of the job goes on that heeded no cancellation."""
    client.say(m.GetJob(client.ask(), job))
    return (await client.hear(m.JobRecord)).info.deaf_at


async def seen_by(at: Running) -> Statistics:
    """The view of the broker, as a new watcher is told."""
    watcher = await at.peer()
    watcher.say(m.Watch())
    return (await watcher.hear(m.StatisticsUpdate)).statistics


async def test_a_block_is_shown_with_its_worker_and_its_jobs_until_its_heartbeat_is_gone(house: House) -> None:
    secret = os.urandom(16)
    async with running(house) as at:
        client, worker = await at.peer(), await at.worker(2, secret=secret)
        await client.submit(item(), item())
        first, second = await worker.runs()
        heart = await at.peer(m.Role.HEARTBEAT, secret)
        heart.say(m.Beat(1_300, Block(first.job, "test.task", "shop.py:7 in send", 1_200), 3, [second.job]), m.Ping(1))
        await heart.hear(m.Pong)
        for job in (first.job, second.job):
            block = await told_of(client, job)
            assert block is not None
            assert (block.job, block.place) == (first.job, "shop.py:7 in send")
            assert block.for_ms >= 1_200
            assert await deaf_at(client, job) == (["memory:"] if job == second.job else [])
        seen = await seen_by(at)
        (its_worker,) = seen.workers
        assert (its_worker.lag_ms, its_worker.deaf) == (1_300, 3)
        assert its_worker.blocked is not None
        assert {job.id for job in seen.running if job.blocked is not None} == {first.job}
        # A newer heartbeat takes the seat; what the older one said is no longer known.
        newer = await at.peer(m.Role.HEARTBEAT, secret)
        newer.say(m.Beat(2), m.Ping(2))
        await newer.hear(m.Pong)
        assert await told_of(client, first.job) is None
        assert await deaf_at(client, second.job) == []
        assert (await seen_by(at)).workers[0].lag_ms == 2
