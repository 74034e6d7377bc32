"""The checker of the kill tests is itself checked: every lie that is planted in honest logs is found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest

from aioqueue import Queue
from aioqueue.model.states import JobState
from tests.faults.ledger import Clients, Evidence, Mark, judge, read_journal, read_marks
from tests.support.logged_app import mark_in

ONE, TWO, THREE = "one", "two", "three"


class Logs:
    """Honest logs of three jobs: one ran once, one was interrupted and ran again, one failed for good."""

    def __init__(self) -> None:
        self.clients = Clients({ONE, TWO, THREE}, [(ONE, "2"), (TWO, "4"), (THREE, "failed"), (ONE, "2")])
        self.marks = [
            Mark("start", ONE, ("1", "0", "100")),
            Mark("start", TWO, ("1", "0", "100")),
            Mark("told", ONE, ("1", "SUCCEEDED", "OK")),
            Mark("seen", ONE, ("2",)),
            Mark("start", TWO, ("1", "1", "101")),
            Mark("told", TWO, ("4", "SUCCEEDED", "ALREADY")),
            Mark("start", THREE, ("1", "0", "101")),
            Mark("told", THREE, ("3", "FAILED", "OK")),
        ]
        self.evidence = Evidence(
            ends={ONE: JobState.SUCCEEDED, TWO: JobState.SUCCEEDED, THREE: JobState.DEAD},
            fences={ONE: [1], TWO: [2, 4], THREE: [3]},
            results={(ONE, 1): b"2", (TWO, 4): b"4"},
        )
        self.expected = {ONE: "2", TWO: "4", THREE: "6"}

    def judge(self) -> list[str]:
        return judge(self.clients, self.marks, self.evidence, self.expected)


def test_honest_logs_are_not_blamed() -> None:
    assert Logs().judge() == []


def a_job_is_lost(logs: Logs) -> None:
    del logs.evidence.ends[ONE], logs.evidence.fences[ONE], logs.evidence.results[ONE, 1]


def a_job_never_ends(logs: Logs) -> None:
    del logs.evidence.ends[THREE]
    logs.evidence.living[THREE] = JobState.RUNNING


def a_result_changes(logs: Logs) -> None:
    logs.clients.seen[-1] = (ONE, "3")


def a_result_is_wrong(logs: Logs) -> None:
    logs.clients.seen = [(job, "5" if job == ONE else end) for job, end in logs.clients.seen]


def a_success_turns_into_a_failure(logs: Logs) -> None:
    logs.evidence.ends[TWO] = JobState.DEAD


def nobody_is_told_an_end(logs: Logs) -> None:
    logs.clients.seen = [(job, end) for job, end in logs.clients.seen if job != TWO]


def a_result_that_a_worker_was_told_of_is_lost(logs: Logs) -> None:
    del logs.evidence.results[TWO, 4]


def a_job_runs_after_its_success_was_told(logs: Logs) -> None:
    logs.marks.append(Mark("start", TWO, ("1", "1", "102")))
    logs.evidence.fences[TWO].append(5)


def a_job_runs_after_its_result_was_seen(logs: Logs) -> None:
    logs.marks = [mark for mark in logs.marks if mark[:2] != ("told", ONE)]
    logs.marks.append(Mark("start", ONE, ("1", "0", "102")))
    logs.evidence.fences[ONE].append(5)


def a_job_runs_without_a_lease(logs: Logs) -> None:
    logs.marks.insert(0, Mark("start", ONE, ("1", "0", "99")))


def fences_fall(logs: Logs) -> None:
    logs.evidence.fences[TWO] = [4, 2]


def the_journal_breaks_a_promise(logs: Logs) -> None:
    logs.evidence.problems.append("I3: two leases at once")


LIES: list[tuple[str, Callable[[Logs], None]]] = [
    ("I2", a_job_is_lost),
    ("I2", a_job_never_ends),
    ("I7", a_result_changes),
    ("I7", a_result_is_wrong),
    ("I7", a_success_turns_into_a_failure),
    ("liveness", nobody_is_told_an_end),
    ("I1", a_result_that_a_worker_was_told_of_is_lost),
    ("I5", a_job_runs_after_its_success_was_told),
    ("I5", a_job_runs_after_its_result_was_seen),
    ("I8", a_job_runs_without_a_lease),
    ("I4", fences_fall),
    ("I3", the_journal_breaks_a_promise),
]


@pytest.mark.parametrize(("promise", "lie"), LIES, ids=[lie.__name__ for _, lie in LIES])
def test_a_lie_is_found(promise: str, lie: Callable[[Logs], None]) -> None:
    logs = Logs()
    honest = copy.deepcopy(logs.__dict__)
    lie(logs)
    assert logs.__dict__ != honest
    assert promise in {found.split(":")[0] for found in logs.judge()}


def test_marks_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "marks.log"
    assert read_marks(path) == []
    mark_in(path, "start", ONE, 1, 0, 100)
    mark_in(path, "told", ONE, 7, "SUCCEEDED", "OK")
    assert read_marks(path) == [Mark("start", ONE, ("1", "0", "100")), Mark("told", ONE, ("7", "SUCCEEDED", "OK"))]


async def test_a_journal_is_read_as_it_was_lived(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    queue = Queue(f"sqlite:{path}")

    @queue.task
    async def double(number: int) -> int:
        return number * 2

    async with queue:
        done = await queue.submit(double, 21)
        assert await done == 42
        waiting = await queue.submit(double.options(delay="1h"), 1)
    evidence = await read_journal(path)
    assert evidence.problems == []
    assert evidence.ends == {done.id: JobState.SUCCEEDED}
    assert evidence.living == {waiting.id: JobState.SCHEDULED}
    assert [job for job, _ in evidence.results] == [done.id]
    # The second one states the level that the registered task needs.
    assert (len(evidence.fences[done.id]), evidence.epochs) == (1, 2)
