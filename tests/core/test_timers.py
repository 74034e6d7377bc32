"""A heap of times, of which some mean nothing any more."""

from __future__ import annotations

from random import Random

from aioqueue.core.timers import Entry, Timers


class Times:
    """Timers of numbered jobs, of which those that are `waiting` hold; `looks` counts how often one was asked about."""

    def __init__(self) -> None:
        self.waiting: set[int] = set()
        self.looks = 0
        self.timers = Timers(self._holds)

    def _holds(self, entry: Entry) -> bool:
        self.looks += 1
        return entry[1] in self.waiting

    def add(self, number: int, at_ms: int) -> None:
        self.waiting.add(number)
        self.timers.add(at_ms, number, b"")

    def end(self, number: int) -> None:
        self.waiting.discard(number)
        self.timers.moved_on()


def test_no_time_that_moves_on_waits_until_all_others_were_looked_at() -> None:
    times = Times()
    for number in range(20_000):
        times.add(number, number)
    # The latest first, so that none leaves by coming to the head.
    for number in range(19_999, 10, -1):
        times.looks = 0
        times.end(number)
        assert times.looks <= 5
        assert len(times.timers) <= 3 * number + 4_000
    assert times.timers.head() == (0, 0, b"")


def test_the_head_is_the_next_that_holds_also_while_others_are_swept() -> None:
    chance = Random(1)
    times, due = Times(), dict[int, int]()
    for number in range(12_000):
        due[number] = chance.randrange(1_000)
        times.add(number, due[number])
    swept = 0
    for added, number in enumerate(chance.sample(range(12_000), 11_990), start=12_000):
        del due[number]
        times.end(number)
        if chance.random() < 0.2:
            due[added] = chance.randrange(1_000)
            times.add(added, due[added])
        swept += bool(times.timers.older)
        if added % 50 == 0:
            first = min(due, key=lambda each: (due[each], each))
            assert times.timers.head() == (due[first], first, b"")
    assert swept > 1_000
