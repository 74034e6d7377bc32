"""Commands of all kinds in any order, by callers that respect nothing: what is refused is refused by an error.

Whatever is asked of jobs, bulks and sessions that are there, are over or never were, `decide` gives no event that
`apply` does not take, or one client could end the broker for all. After every step the scene judges the state, the
journal and its replay, while the log is carried and cut.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

import pytest

from aioqueue.broker.lookup import tell
from aioqueue.core import commands as c
from aioqueue.core import homes, partition
from aioqueue.core.decide import bulks, registry
from aioqueue.core.invariants import settings
from aioqueue.core.nouns import task
from aioqueue.limits import BULK_OPEN_MS, LAPSE_GRACE_MS
from aioqueue.model.spec import RetryPolicy, Spec, pack_spec
from tests.support.scene import NAMESPACE, Scene, job_id, kinds

STEPS: Final = 50
# Few of each, so that commands meet.
_OWN_IDS: Final = 6
_BULKS: Final = tuple(bytes([number]) * 16 for number in range(3))
_SECRETS: Final = tuple(bytes([number]) * 16 for number in range(4))


class Callers:
    """Makes commands by chance. Ids are callers' own, of which few are used again and again, or fresh ones."""

    def __init__(self, chance: Random, scene: Scene) -> None:
        self._chance = chance
        self._state = scene.partition.state
        self._fresh = 100
        self._kinds: list[Callable[[], c.Command]] = [
            lambda: c.SubmitJobs([self._job() for _ in range(self._below(4))], self._likely(0.3)),
            lambda: c.SubmitJobs([self._job() for _ in range(self._below(4))]),
            self._stage, self._stage,
            lambda: c.CommitBulk(self._bulk(), self._namespace(), self._below(3), self._id()),
            lambda: c.DropBulk(self._bulk(), self._namespace()),
            lambda: c.CancelJob(self._id(), self._namespace()),
            lambda: c.RequeueJob(self._id(), self._namespace(), generation=self._below(3)),
            lambda: c.OpenSession(chance.choice(_SECRETS), self._namespace(), "w", self._likely(0.2), self._below(9)),
            self._offer, self._offer,
            lambda: c.ResumeSession(self._session(), [c.HeldRun(self._id(), self._fence(self._id()))], [self._end()]),
            lambda: self._of_link(c.LoseLink(self._session())),
            lambda: self._of_link(c.ThrottleLink(self._session(), self._likely(0.5))),
            lambda: c.HearSession(self._session()),
            lambda: c.EndSession(self._session(), chance.choice((c.SessionEnd.GOODBYE, c.SessionEnd.DIED))),
            lambda: c.SettleRuns(self._session(), [self._end() for _ in range(1 + self._below(3))]),
            lambda: c.SettleRuns(self._session(), [self._end() for _ in range(1 + self._below(3))]),
        ]  # fmt: skip

    def ask(self) -> c.Command:
        return self._chance.choice(self._kinds)()

    def _likely(self, chance: float) -> bool:
        return self._chance.random() < chance

    def _below(self, end: int) -> int:
        return self._chance.randrange(end)

    def _namespace(self) -> str:
        return "other" if self._likely(0.1) else NAMESPACE

    def _bulk(self) -> bytes:
        return self._chance.choice(_BULKS)

    def _id(self) -> bytes:
        recent = range(max(100, self._fresh - 8), self._fresh)
        return job_id(self._chance.choice([*range(_OWN_IDS), *recent]))

    def _session(self) -> int:
        return self._chance.choice([*self._state.sessions, 99])

    def _fence(self, key: bytes) -> int:
        job = self._state.jobs.get(key)
        return job.fence if job is not None and self._likely(0.7) else self._below(self._state.next_fence + 1)

    def _end(self) -> c.EndRun:
        held = [key for session in self._state.sessions.values() for key in session.leases]
        key = self._chance.choice(held) if held and self._likely(0.7) else self._id()
        return c.EndRun(key, self._fence(key), self._chance.choice(list(c.RunEnd)), b"end", self._likely(0.7))

    def _job(self, fresh: bool = False) -> c.NewJob:
        chance = self._chance
        fresh = fresh or self._likely(0.5)
        number = self._fresh if fresh else self._below(_OWN_IDS)
        self._fresh += fresh
        retry = RetryPolicy(attempts=chance.choice((1, 2)))
        spec = Spec(self._namespace(), chance.choice("ab"), "task", chance.choice((4, 5)), retry=retry)
        terms = None
        if self._likely(0.4):
            parent = self._id() if self._likely(0.6) else b""
            ends = c.AskedTerms(chance.choice((0, 500)), 0, chance.choice((0, 700)), 0)
            terms = c.AskedTerms(
                ends.expires_in_ms, 0, ends.deadline_in_ms, 0, parent, bool(parent) and self._likely(0.7)
            )  # fmt: skip
        known = c.Known.FRESH if fresh else c.Known.UNKNOWN
        delay_ms = chance.choice((0, 0, 300))
        return c.NewJob(job_id(number), spec, pack_spec(spec), b"x" * self._below(5), delay_ms, 0, None, known, terms)

    def _stage(self) -> c.StageBulk:
        jobs = [self._job(fresh=True) for _ in range(self._below(3))]
        return c.StageBulk(self._bulk(), self._namespace(), self._below(3), jobs, self._likely(0.4))

    def _offer(self) -> c.Command:
        queues = tuple(self._chance.sample("abc", 1 + self._below(2)))
        return self._of_link(c.OfferCapacity(self._session(), self._below(4), queues))

    def _of_link(self, command: c.OfferCapacity | c.LoseLink | c.ThrottleLink) -> c.Command:
        session = self._state.sessions.get(command.session)
        if session is not None and self._likely(0.9):
            command.link = session.link.number
        return command


@pytest.fixture(autouse=True)
def _little_is_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done a part at a time takes many steps."""
    monkeypatch.setattr(homes, "HOME_POSITIONS", 1)
    monkeypatch.setattr(bulks, "BULK_FREED_MAX", 2)
    monkeypatch.setattr(registry, "TASKS_MAX", 3)
    monkeypatch.setattr(registry, "LAPSED_MAX", 2)
    for module in (registry, task, settings):
        monkeypatch.setattr(module, "TASK_UNUSED_MS", 2_000)
    monkeypatch.setattr(partition, "_PART", 2)
    monkeypatch.setattr(partition, "BATCH_EVENTS_TARGET", 6)


@pytest.mark.parametrize("seed", range(4))
def test_no_commands_in_any_order_break_the_partition(seed: int, scene: Scene) -> None:
    chance = Random(seed)
    callers = Callers(chance, scene)
    line: list[c.Command] = []
    for _ in range(STEPS):
        line += [callers.ask() for _ in range(1 + chance.randrange(5))]
        if chance.random() < 0.05:
            line.insert(0, c.SkipTime(chance.randrange(5_000)))
        step = scene.step(*line)
        asked, line = line[: step.taken], line[step.taken :]
        for command, reply in zip(asked, step.replies, strict=True):
            if isinstance(reply, c.NeedsLookup):
                tell(command, reply.ids, scene.archive)
                line.append(command)
        if chance.random() < 0.5:
            scene.clock.advance(BULK_OPEN_MS if chance.random() < 0.03 else chance.choice((1, 100, 400, 3_000)))
        if chance.random() < 0.2:
            scene.carry()
            base = scene.partition.state.homes.oldest() or scene.position
            if base > scene.partition.state.base:
                scene.move_base(base)


@pytest.mark.parametrize("seed", range(4))
def test_no_declarations_in_any_order_break_the_registry(seed: int, scene: Scene) -> None:
    chance = Random(f"tasks {seed}")

    def declared() -> c.Command:
        namespace, up_ms = chance.choice((NAMESPACE, "other")), chance.choice((0, 500, 10**15))
        tasks = [(chance.choice("abcd"), chance.choice((b"", b"1", b"2"))) for _ in range(chance.randrange(4))]
        if chance.random() < 0.5:
            return c.DeclareTasks(namespace, tasks, up_ms)
        return c.SetTasks(namespace, [c.DescribedTask(name, digest, digest * 3) for name, digest in tasks], up_ms)

    lapsed = 0
    for _ in range(2 * STEPS):
        step = scene.step(*(declared() for _ in range(chance.randrange(3))))
        lapsed += "ItemsLapsed" in kinds(step)
        scene.clock.advance(chance.choice((0, 1, 900, LAPSE_GRACE_MS)))
        if chance.random() < 0.1:
            scene.clock.jump(chance.choice((-5_000, -500, 500)))
        if chance.random() < 0.2:
            scene.carry()
            base = scene.partition.state.homes.oldest() or scene.position
            if base > scene.partition.state.base:
                scene.move_base(base)
        if chance.random() < 0.05:
            scene.restart()
    assert lapsed > 3
