"""One partition on a table: commands in, and after every step its state, its journal and its replay are judged.

The scene keeps what a shell would keep: positions, the batches as bytes, what ended (`archive`), what workers were
given (`held`). A command that needs a look-up is told what the archive has and asked again.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

from aioqueue.archive.base import Tombstone
from aioqueue.broker.bodies import Bodies
from aioqueue.broker.lookup import tell
from aioqueue.clock import ManualClock
from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.core import levels
from aioqueue.core.admission import USUAL_LIMITS, BacklogLimits
from aioqueue.core.effects import ArchiveJob, DeliverJob, ReviveJob
from aioqueue.core.invariants import History, Offers, check_state
from aioqueue.core.items import home_of
from aioqueue.core.named import Item, ItemKind
from aioqueue.core.nouns import Job
from aioqueue.core.partition import Partition, Step
from aioqueue.core.places import unpack_place
from aioqueue.core.records import decode_events, encode_events
from aioqueue.model.ids import generated_id
from aioqueue.model.records import FinishedJob
from aioqueue.model.spec import RetryPolicy, Spec, pack_spec
from aioqueue.model.states import JobState

NAMESPACE = "default"
TTL_MS = 2_000
ONCE = RetryPolicy(attempts=1)


def job_id(number: int, queue: str = "default") -> bytes:
    """The id of job `number`, the same each time."""
    return generated_id(NAMESPACE, queue, 1_700_000_000_000, number.to_bytes(8, "big"))


def new_job(
    number: int,
    *,
    queue: str = "default",
    priority: int = 5,
    retry: RetryPolicy | None = None,
    delay_ms: int = 0,
    due_ms: int = 0,
    known: c.Known = c.Known.FRESH,
    body: bytes | None = None,
    keep_ms: int = -1,
    task: str = "task",
    labels: tuple[str, ...] = (),
    **terms: Any,
) -> c.NewJob:
    """Job `number`, to be submitted; what is left over are its terms."""
    spec = Spec(NAMESPACE, queue, task, priority, keep_ms=keep_ms, retry=retry or RetryPolicy(), labels=labels)
    body = b"args %d" % number if body is None else body
    return c.NewJob(
        job_id(number, queue), spec, pack_spec(spec), body, delay_ms, due_ms, None, known,
        c.AskedTerms(**terms) if terms else None,
    )  # fmt: skip


def seen_session(number: int, home: int) -> c.CarriedItem:
    """A session that was seen at home there."""
    return c.CarriedItem(Item(ItemKind.SESSION, number), home)


def seen_part(bulk: bytes, first: int, home: int) -> c.CarriedItem:
    """A part of a bulk that was seen at home there."""
    return c.CarriedItem(Item(ItemKind.PART, (bulk, first)), home)


def submitted(number: int, seq: int, **changes: Any) -> e.JobSubmitted:
    """The event of job `number`, for histories that are written by hand."""
    job = new_job(number)
    fields: dict[str, Any] = {
        "state": JobState.READY, "due_ms": 0, "body_offset": 0, "body_bytes": 0, "body_crc": zlib.crc32(b""),
    } | changes  # fmt: skip
    return e.JobSubmitted(job_id(number), fields.pop("spec", job.packed_spec), seq, **fields)


class Written(NamedTuple):
    """A batch as the journal has it."""

    position: int
    wall_ms: int
    events: bytes
    bodies: bytes


def arguments_in(batches: list[Written], job: Job) -> bytes:
    """What the journal has where the job says that its arguments lie."""
    place = unpack_place(job.place)
    return batches[job.home - 1].bodies[place.offset : place.offset + place.length]


class Scene:
    """See the module."""

    def __init__(self, ttl_ms: int = TTL_MS, limits: BacklogLimits = USUAL_LIMITS) -> None:
        self.clock = ManualClock()
        self.limits = limits
        self.partition = Partition(ttl_ms, limits)
        # What a shell states when a command needs it is nobody's matter here.
        self.partition.level = levels.KNOWN.highest
        self.position = 0
        self.batches: list[Written] = []
        self.archive: dict[bytes, FinishedJob] = {}
        self.stones: dict[bytes, Tombstone] = {}
        self.bodies = Bodies()
        # Session -> job -> fence of what was delivered to it and not ended since.
        self.held: dict[int, dict[bytes, int]] = {}
        self.history = History()
        # What workers said, for the judge.
        self.offers = Offers()
        self.judging = True

    # --- doing ---

    def step(self, *commands: c.Command) -> Step:
        """One step of the partition; what it broke fails the test."""
        now = self.clock.now()
        # Nothing is ever under way here: all that was said has been heard.
        heard_up_to_ms = now.mono_ms if self.partition.seems_silent(now) else None
        step = self.partition.step(commands, now, self.position + 1, heard_up_to_ms=heard_up_to_ms)
        runs = {(event.id, event.fence): event for event in step.events if hasattr(event, "fence")}
        for command, reply in zip(commands, step.replies, strict=False):
            self.offers.told(command, reply)
            assert self.offers.misfits(command, reply, runs, self._place_of) == []
        self.offers.decided(step.events, lambda job: self.history.lives[job].fit[0], self.partition.state.sessions)
        self.bodies.take(step.arguments, step.effects)
        for effect in step.effects:
            if isinstance(effect, ArchiveJob):
                self.archive[effect.finished.id] = effect.finished
            elif isinstance(effect, ReviveJob):
                assert (self.archive.pop(effect.id, None) is None) is not (self.stones.pop(effect.id, None) is None)
            elif isinstance(effect, DeliverJob):
                self.held.setdefault(effect.session, {})[effect.id] = effect.fence
        if step.events:
            self.position += 1
            written = Written(self.position, now.wall_ms, encode_events(step.events), b"".join(step.bodies))
            self.batches.append(written)
            broken = self.history.observe(
                decode_events(written.events, "scene"), now.wall_ms, self.position, self.offers
            )
            assert broken == []
        if self.judging:
            self.judge(settled=not step.more)
        return step

    def _place_of(self, key: bytes) -> Any:
        life = self.history.lives[key]
        return life.line, life.fit

    def ask(self, command: c.Command) -> Any:
        """The answer to one command; what was refused is raised."""
        reply = self.step(command).replies[0]
        while isinstance(reply, c.NeedsLookup):
            tell(command, reply.ids, {**self.stones, **self.archive})
            reply = self.step(command).replies[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    def pass_ms(self, ms: int) -> Step:
        """Time passes, and then a step is taken."""
        self.clock.advance(ms)
        return self.step()

    def submit(self, *jobs: c.NewJob) -> list[c.SubmitOutcome]:
        outcomes: list[c.SubmitOutcome] = self.ask(c.SubmitJobs(list(jobs)))
        return outcomes

    def session(self, name: str = "w1") -> int:
        """A session's number; it has no capacity yet."""
        number: int = self.ask(c.OpenSession(name.encode(), NAMESPACE, name))[0]
        return number

    def worker(
        self,
        name: str = "w1",
        slots: int = 1,
        queues: tuple[str, ...] = ("default",),
        *,
        process_slots: int = 0,
        **declared: Any,
    ) -> int:
        """A session with capacity; what is ready is leased to it at once. What is left over it declares before."""
        number = self.session(name)
        if declared:
            self.declare(number, **declared)
        self.ask(c.OfferCapacity(number, slots, queues, process_slots=process_slots))
        return number

    def declare(
        self,
        session: int,
        tasks: tuple[str, ...] | None = None,
        processes: tuple[str, ...] = (),
        labels: tuple[str, ...] = (),
        all_queues: bool = False,
    ) -> None:
        """The session declares these tasks, those that run in processes apart, or none."""
        pairs = None if tasks is None else (*((task, 0) for task in tasks), *((task, 1) for task in processes))
        self.ask(c.DeclareOffer(session, 0, pairs, labels, all_queues))

    def settle(self, session: int, number: int, end: c.RunEnd = c.RunEnd.SUCCEEDED, **changes: Any) -> c.SettleOutcome:
        """The session settles job `number` under the fence it was given."""
        key = job_id(number)
        run = c.EndRun(key, self.held.get(session, {}).get(key, 0), end, b"result")
        for name, value in changes.items():
            setattr(run, name, value)
        outcome: c.SettleOutcome = self.ask(c.SettleRuns(session, [run]))[0]
        return outcome

    def carry(self, *numbers: int) -> int:
        """Write the records of these jobs, or of everything that lives, again; how many bytes that took."""
        state = self.partition.state
        jobs = [state.jobs[job_id(number)] for number in numbers] if numbers else list(state.jobs.values())
        items = [] if numbers else [item for named in state.homes.named().values() for item in named]
        carried: int = self.ask(
            c.CarryItems(
                [c.CarriedJob(job.id, job.home, arguments_in(self.batches, job)) for job in jobs],
                [c.CarriedItem(item, home_of(state, item)) for item in items],
            )
        )
        return carried

    def move_base(self, base: int) -> bool:
        """Let recovery begin at a position, from what is known up to now."""
        moved: bool = self.ask(c.MoveBase(base, self.position))
        return moved

    def forget(self, job_id: bytes) -> None:
        """The retention of a job that is over is past."""
        end = self.archive.pop(job_id)
        self.stones[job_id] = Tombstone(job_id, end.state, end.generation, self.clock.now().wall_ms)

    # --- looking ---

    def job(self, number: int) -> Job | None:
        """The living job."""
        return self.partition.state.jobs.get(job_id(number))

    def running(self) -> dict[int, list[bytes]]:
        """Which jobs each session holds."""
        return {number: list(session.leases) for number, session in self.partition.state.sessions.items()}

    def replayed(self, base: int = 1) -> Partition:
        """The partition that the journal gives, from a base on."""
        twin = Partition(self.partition.session_ttl_ms, self.limits)
        twin.level = levels.KNOWN.highest
        twin.start_at(base)
        for batch in self.batches[base - 1 :]:
            twin.replay(decode_events(batch.events, "scene"), batch.bodies, batch.position, batch.wall_ms)
        return twin

    def restart(self) -> None:
        """The broker begins again from its journal."""
        self.partition = self.replayed()
        self.partition.begin(self.clock.now())

    def judge(self, *, settled: bool = True) -> None:
        """The state keeps every promise, and the journal gives the same one."""
        assert check_state(self.partition.state, settled=settled) == []
        for base in {1, self.partition.state.base}:
            twin = self.replayed(base)
            assert not twin.state.partial
            assert twin.state.journaled_part() == self.partition.state.journaled_part()


def kinds(step: Step) -> list[str]:
    """The events of a step, by their names."""
    return [type(event).__name__ for event in step.events]
