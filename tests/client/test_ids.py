from __future__ import annotations

import subprocess
import sys
import uuid

from aioqueue.client.ids import JobIds
from aioqueue.clock import ManualClock
from aioqueue.ground import Ground
from aioqueue.model.ids import route_in, route_of


def test_no_two_ids_are_the_same_within_a_millisecond() -> None:
    ids = JobIds("default", Ground(ManualClock()))
    assert len({ids.next("mail") for _ in range(10_000)}) == 10_000


def test_ids_rise_in_the_order_of_their_submits() -> None:
    clock = ManualClock()
    ids = JobIds("default", Ground(clock, bytes))
    made = []
    for _ in range(5):
        ids.refresh()
        made += [ids.next("mail") for _ in range(3)]
        clock.advance(1)
    assert made == sorted(made)


def test_an_id_tells_when_it_was_made() -> None:
    clock = ManualClock()
    ids = JobIds("default", Ground(clock))
    first = ids.next("mail")
    clock.advance(5)
    assert ids.next("mail")[:6] == first[:6]
    ids.refresh()
    assert int.from_bytes(ids.next("mail")[:6], "big") == clock.wall_ms


def test_chance_is_asked_anew_when_the_clock_was_set_back() -> None:
    clock = ManualClock()
    answers = iter([bytes(8), b"\x01" * 8, b"\x02" * 8])
    ids = JobIds("default", Ground(clock, lambda size: next(answers)))
    first = ids.next("mail")
    clock.advance(1)
    ids.refresh()
    clock.jump(-1)
    ids.refresh()
    assert ids.next("mail") != first


FORKED = """
import os
from aioqueue.client.ids import JobIds
from aioqueue.clock import ManualClock
from aioqueue.ground import Ground

ids = JobIds("default", Ground(ManualClock()))
ids.next("mail")
reading, writing = os.pipe()
if os.fork() == 0:
    os.write(writing, ids.next("mail"))
    os._exit(0)
print(abs(int.from_bytes(os.read(reading, 16), "big") - int.from_bytes(ids.next("mail"), "big")))
"""


def test_a_process_that_was_forked_does_not_count_on_from_its_parent_s_number() -> None:
    program = [sys.executable, "-c", FORKED]
    ended = subprocess.run(program, capture_output=True, text=True, check=True, timeout=90)
    # By chance it is one of the next thousand once in 2 ** 51 times.
    assert int(ended.stdout) > 1_000


def test_counting_past_the_highest_chance_is_still_a_uuid() -> None:
    ids = JobIds("default", Ground(ManualClock(), lambda size: b"\xff" * size))
    made = uuid.UUID(bytes=ids.next("mail"))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)


def test_an_id_leads_to_its_queue() -> None:
    ids = JobIds("shop", Ground(ManualClock()))
    for queue in ("mail", "default", "mail"):
        made = ids.next(queue)
        assert route_in(made) == route_of("shop", queue)
        assert uuid.UUID(bytes=made).version == 7
