"""A world made of one seed: peers, a network, a broker that crashes, and a clock that jumps.

Every choice comes from one `Random`, and nothing asks the machine for time, so a seed is a whole history: the same
seed gives the same journal, byte for byte. `run` breaks a promise (`Violation`), or returns what was done.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from random import Random
from typing import NamedTuple

from aioqueue.clock import ManualClock
from aioqueue.core import commands as c
from aioqueue.core.admission import USUAL_LIMITS, BacklogLimits
from aioqueue.core.invariants import check_state
from aioqueue.core.levels import KNOWN
from aioqueue.core.partition import Partition
from aioqueue.errors import AppendUnknown, DiskLow
from aioqueue.journal.memory import Loss, MemoryJournal, MemoryStore
from tests.simulator.broker import Archive, Broker, batches, replay, replay_decided
from tests.simulator.checker import Checker, Violation
from tests.simulator.declaring import Releases, is_declaring, small_registry
from tests.simulator.drafts import NAMESPACE, Drafts
from tests.simulator.network import Connection, Request
from tests.simulator.owners import STALE_MS, Owner, Uses, has_owners, ids_freed_after
from tests.simulator.peers import Client, Peer, Worker
from tests.simulator.releases import ReleasedWorker, fitted, has_fits
from tests.simulator.retention import Retention, homes_counted_by, is_cutting
from tests.simulator.stager import Stager

TTL_MS = 2_000
STEPS = 1_500
# Faults are over, and everything must come to its end within this many rounds.
ROUNDS_MAX = 3_000


class Outcome(NamedTuple):
    """What a world did: how many commands were decided, events made durable, jobs ended, and brokers crashed."""

    commands: int
    events: int
    jobs: int
    crashes: int


class World:
    """All of it."""

    def __init__(self, seed: int, say: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self._rng = rng = Random(seed)
        self._say = say
        self._clock = ManualClock()
        self._store = MemoryStore()
        self._archive = Archive()
        self.checker = Checker()
        self._ttl_ms = TTL_MS
        # The door has a chance of its own, and stands open in two worlds of three.
        self._door = Random(f"door {seed}")
        self._limits = _limits(self._door) if seed % 3 == 2 else USUAL_LIMITS
        # So has the cutting of the log, in every second world from `CUTTING_SEEDS` on: those below stay as they were.
        self._cuts = is_cutting(seed)
        self._cutting = Random(f"cutting {seed}")
        # And so have the releases that declare their tasks, in some worlds from `DECLARING_SEEDS` on.
        self._declaring = Random(f"declaring {seed}")
        self._releases = Releases(self._declaring, self._clock) if is_declaring(seed) else None
        self._crashes = 0
        self._commands = 0
        # And two releases of workers side by side, in some worlds from `FITS_SEEDS` on.
        fits = Random(f"fits {seed}") if has_fits(seed) else None
        drafts = Drafts(rng, Random(~seed) if seed % 2 else None, None if fits is None else partial(fitted, fits))
        self._clients = [Client(f"c{n}", rng, self.checker, drafts) for n in range(rng.randint(1, 3))]
        if seed % 5 == 1:
            # With a chance of its own, so that other worlds are as they were.
            self._clients.append(Stager("b0", Random(f"bulks {seed}"), self.checker, drafts))
        self._uses: Uses | None = None
        if has_owners(seed):
            self._uses = self.checker.uses = Uses(drafts.queues[0])
            owning = Random(f"owners {seed}")
            self._clients += [
                Owner(f"o{n}", owning, self.checker, drafts, self._uses, self._clock)
                for n in range(owning.randint(2, 3))
            ]
        self._owning = Random(f"owned {seed}")
        self._workers: list[Worker] = [
            Worker(f"w{n}", rng, self.checker, drafts.queues)
            if fits is None
            else ReleasedWorker(f"w{n}", rng, self.checker, drafts.queues, fits)
            for n in range(rng.randint(1, 4))
        ]
        # Some brokers have little memory for arguments; with a chance of their own, and worlds that bugs were found in
        # stay as they were.
        reading = Random(f"bodies {seed}")
        self._memory = (reading.choice((0, 1, 3, 10)), reading) if seed > 40 and seed % 4 == 3 else None
        self._peers: list[Peer] = [*self._clients, *self._workers]
        # Connections that a broker may still hear of, with their peers; a peer may have left one behind.
        self._links: list[tuple[Connection, Peer]] = []
        self._broker = self._start_broker()
        self._checks = rng.choice((4, 16, 64))

    # --- a run ---

    def run(self, steps: int = STEPS) -> Outcome:
        """So many steps with faults, then peace; raises `Violation` where a promise is broken."""
        try:
            actions, weights = zip(*_ACTIONS, strict=True)
            for action in self._rng.choices(actions, weights, k=steps):
                action(self)
                if self._cuts and self._cutting.random() < 0.2:
                    self._retention.act()
                if self._releases is not None and self._declaring.random() < 0.05:
                    self._releases.act(self._broker)
            self._calm_down()
        except Violation:
            raise
        except Exception as error:
            raise Violation(f"I17: the broker broke down: {type(error).__name__}: {error}") from error
        self._commands += self._broker.commands
        lives = len(self.checker.history.lives)
        return Outcome(self._commands, self.checker.events, lives, self._crashes)

    def _start_broker(self) -> Broker:
        checker = self.checker
        partition = Partition(self._ttl_ms, self._limits)
        # Every log of these worlds states the highest level from its beginning.
        partition.level = KNOWN.highest
        broker = Broker(
            self._store,
            self._archive,
            self._clock,
            self._rng,
            checker.observe,
            partition,
            self._memory,
            checker.place_of,
        )
        self._retention = Retention(broker, self._cutting)
        return broker

    def say(self, *words: object) -> None:
        """One line of the trace; the words are only made text if somebody reads it."""
        if self._say is not None:
            self._say(" ".join((f"{self._clock.mono_ms:>8}", *map(str, words))))

    # --- what may happen next ---

    def client_acts(self) -> None:
        client = self._rng.choice(self._clients)
        if self._reach(client):
            client.act(self._clock.wall_ms)

    def worker_acts(self) -> None:
        worker = self._rng.choice(self._workers)
        if self._reach(worker):
            worker.act(self._clock.mono_ms)

    def _reach(self, peer: Peer) -> bool:
        """Whether the peer is connected; it may begin to be."""
        if peer.connection is not None and peer.connection.open:
            return True
        if self._rng.random() < 0.5:
            self.say(peer.name, "connects as", peer.secret)
            self._links.append((peer.connect(), peer))
        return False

    def network_moves(self) -> None:
        """Some messages of one connection arrive, both ways."""
        if self._links:
            self._move(self._rng.randrange(len(self._links)), self._rng.randint(1, 12))

    def _move(self, index: int, count: int) -> None:
        connection, peer = self._links[index]
        for _ in range(min(count, len(connection.to_broker))):
            self.receive(connection, connection.to_broker.popleft())
        for _ in range(count):
            if not connection.to_peer:
                break
            message = connection.to_peer.popleft()
            if peer.connection is connection:
                self.say(peer.name, "hears", message)
                peer.hear(message)
        if not connection.open or (peer.connection is not connection and self._rng.random() < 0.3):
            connection.cut()
            self._broker.lost(connection)
            self._links.pop(index)

    def receive(self, connection: Connection, request: Request) -> None:
        """The shell reads one message and puts its command into the line."""
        what, session = request.content, connection.session
        match request.kind:
            case "hello":
                command: c.Command = c.OpenSession(what.secret, NAMESPACE, what.name)
            case "submit" if what.since_ms and self._clock.wall_ms - what.since_ms > STALE_MS:
                # No network holds a message for an hour.
                return
            case "submit":
                command = c.SubmitJobs([draft.job(what.resend) for draft in what.drafts], what.atomic)
            case "stage":
                jobs = [draft.job(False) for draft in what.drafts]
                command = c.StageBulk(what.bulk, NAMESPACE, what.number, jobs, what.resent)
            case "commit":
                command = c.CommitBulk(what.bulk, NAMESPACE, what.parts, what.first)
            case "drop":
                command = c.DropBulk(what, NAMESPACE)
            case "cancel":
                command = c.CancelJob(what, NAMESPACE, reason=f"session {session} asked")
            case "requeue":
                command = c.RequeueJob(what, NAMESPACE)
            case "retry":
                command = c.RequeueJob(what[0], NAMESPACE, generation=what[1])
            case "wait":
                command = c.InspectJob(what, NAMESPACE)
            case "settle":
                command = c.SettleRuns(session, what)
            case "resume":
                command = c.ResumeSession(session, what.held, what.settles)
            case "declare":
                command = c.DeclareOffer(session, 0, *what)
            case "capacity":
                command = c.OfferCapacity(session, *what)
            case "goodbye":
                command = c.EndSession(session, c.SessionEnd.GOODBYE)
            case _:
                command = c.HearSession(session)
        if session and request.kind != "beat":
            # Whatever it said, it was heard.
            self._broker.post(c.HearSession(session))
        self.say("session", session, "asks", command)
        self._broker.post(command, connection, request)

    def broker_decides(self) -> None:
        broker = self._broker
        if broker.can_decide:
            broker.decide()
            self._check_overdue()
            if self._rng.random() * self._checks < 1:
                self._check_state()

    def journal_moves(self) -> None:
        """The append in flight ends well, is refused, or its outcome gets lost, which is the end of the broker."""
        broker = self._broker
        broker.read_ahead()
        if broker.in_flight is None:
            return
        fate = self._rng.random()
        if fate < 0.02:
            broker.faults.refuse = 1
        elif fate < 0.022:
            broker.faults.lose = self._rng.choice(list(Loss))
        try:
            broker.append()
        except AppendUnknown:
            self.say("an append got lost")
            self.broker_crashes()

    def lookups_return(self) -> None:
        self._broker.look_up()

    def archive_commits(self) -> None:
        self._broker.sync_archive()
        if self._uses is not None:
            self._uses.forget(self._archive, self._owning, self._clock.wall_ms)

    def time_passes(self) -> None:
        self._clock.advance(self._rng.choice((1, 5, 20, 60, 200)))
        if self._limits is not USUAL_LIMITS and self._door.random() < 0.1:
            self._disk_fills(self._door.random() < 0.5)

    def _disk_fills(self, low: bool) -> None:
        """The broker's watch over its disk tells of a change; a broker that starts begins with the door open."""
        self.say("the disk is", "full" if low else "well")
        self._broker.post(c.LimitAdmission(DiskLow(free=1, needed=2, path="sim") if low else None))

    def time_leaps(self) -> None:
        if self._uses is not None and self._broker.busy:
            # A submit that was read is decided soon, or it would be one that is older than any that is said again.
            return
        self._clock.advance(self._rng.choice((500, 1_500, 4_000)))

    def wall_clock_is_set(self) -> None:
        if self._uses is not None:
            # How long ago a job was forgotten is told by the wall clock; no promise holds where that is set by an hour.
            return
        self._clock.jump(self._rng.choice((-3_600_000, -900, -40, 40, 900, 3_600_000)))
        self.say("the wall clock is set to", self._clock.wall_ms)

    def connection_breaks(self) -> None:
        if self._links:
            index = self._rng.randrange(len(self._links))
            connection, peer = self._links.pop(index)
            self.say("the connection of", peer.name, "breaks")
            connection.cut()
            self._broker.lost(connection)

    def worker_dies(self) -> None:
        worker = self._rng.choice(self._workers)
        self.say(worker.name, "dies")
        connection = worker.connection
        secret = worker.die()
        session = connection.session if connection is not None else 0
        if session and self._rng.random() < 0.7:
            self._broker.post(c.EndSession(session, c.SessionEnd.DIED))
            self.say("its supervisor tells of", secret)

    def broker_crashes(self) -> None:
        """Memory and all connections are gone, and so is what was not durable; the append in flight may be."""
        old = self._broker
        if old.in_flight is not None and self._rng.random() < 0.3 and old.in_flight.position > self._store.tail:
            self._store.batches[old.in_flight.position] = old.in_flight.data
        for decided in old.undurable():
            if decided.position <= self._store.tail:
                old.observe(decided)
        self._compare(old)
        self._crashes += 1
        self._commands += old.commands
        for connection, _ in self._links:
            connection.cut()
        self._links.clear()
        self._broker = self._start_broker()
        if self._rng.random() < 0.2:
            # Recovery itself is interrupted, and begins again.
            self._broker = self._start_broker()
        self.say("the broker crashed and is back")

    def replay_is_compared(self) -> None:
        self._compare(self._broker)

    # --- judging ---

    def _compare(self, broker: Broker) -> None:
        """I17: the journal, and what is on its way to it, replayed from nothing, gives the state in memory."""
        self._compare_from(self._store.first, broker)
        if broker.base > self._store.first:
            # As it will be when that is trimmed.
            self._compare_from(broker.base, broker)

    def _compare_from(self, base: int, broker: Broker) -> None:
        twin = Partition(self._ttl_ms)
        twin.start_at(base)
        for batch in batches(MemoryJournal(self._store)):
            if batch.position >= base:
                replay(twin, batch)
        for decided in broker.undurable():
            if decided.position > self._store.tail:
                replay_decided(twin, decided)
        ours, theirs = broker.partition.state.journaled_part(), twin.state.journaled_part()
        for part in ours:
            if ours[part] != theirs[part]:
                raise Violation(f"I17: {part} in memory {ours[part]!r:.600}, replayed {theirs[part]!r:.600}")

    def _check_overdue(self) -> None:
        """After a batch that left nothing to do, no job stands behind its time."""
        state = self._broker.partition.state
        head = state.ends.head()
        if head is None or self._broker.more or head[0] > self._clock.wall_ms:
            return
        # One that came in this very batch is ended by the next, which is due at once.
        if state.jobs[head[2]].submitted_ms != self._clock.wall_ms:
            raise Violation(f"I36: job {head[2].hex()} should have ended at {head[0]}, it is {self._clock.wall_ms}")

    def _check_state(self) -> None:
        broker = self._broker
        found = check_state(broker.partition.state, settled=not broker.more, held=broker.held)
        if found:
            raise Violation(found[0])
        state, limits = self._broker.partition.state, self._limits
        if len(state.jobs) > limits.jobs_max or state.admission.size > limits.bytes_max:
            raise Violation(f"I20: {len(state.jobs)} jobs with {state.admission.size} bytes live, over {limits}")

    # --- peace ---

    def _calm_down(self) -> None:
        """Faults stop. All peers come back, and everything must come to its end."""
        for peer in self._peers:
            peer.calm_down()
        self._disk_fills(low=False)
        self._come_to_rest()
        for client in self._clients:
            client.knock(self._clock.wall_ms)
            self._come_to_rest()
        self._let_lapse()
        self._check_state()
        self._compare(self._broker)
        self.checker.finish()

    def _let_lapse(self) -> None:
        """Nobody declares a task any more: all of them lapse, each when its time is over."""
        state = self._broker.partition.state
        for _ in range(ROUNDS_MAX):
            head = state.lapses.head()
            if head is None:
                break
            self._clock.advance(max(500, head[0] - self._clock.wall_ms))
            self._round()
            self._come_to_rest()
        if len(state.registry):
            raise Violation(f"liveness: {len(state.registry)} tasks never lapse")

    def _come_to_rest(self) -> None:
        for _ in range(ROUNDS_MAX):
            if self._is_quiet():
                return
            self._round()
        raise Violation(f"liveness: {self._unrest()}")

    def _round(self) -> None:
        for peer in self._peers:
            if peer.connection is None or not peer.connection.open:
                self._links.append((peer.connect(), peer))
        for client in self._clients:
            client.act(self._clock.wall_ms)
        for worker in self._workers:
            worker.act(self._clock.mono_ms)
        for index in reversed(range(len(self._links))):
            self._move(index, 1_000)
        broker = self._broker
        broker.look_up()
        if broker.can_decide:
            broker.decide()
        if broker.in_flight is not None:
            broker.append()
        broker.sync_archive()
        broker.read_ahead()
        self._clock.advance(self._rng.choice((10, 50, 200)))
        head = broker.partition.state.due.head()
        if head is not None and not broker.busy and head[0] - self._clock.wall_ms > TTL_MS:
            # The wall clock was set back, and somebody waits for a time that is far away now.
            self._clock.advance(head[0] - self._clock.wall_ms)

    def _is_quiet(self) -> bool:
        return not (
            self._broker.partition.state.jobs
            or self._broker.busy
            or any(client.unanswered or client.waiting for client in self._clients)
            or any(worker.runs or worker.unsettled for worker in self._workers)
        )

    def _unrest(self) -> str:
        state = self._broker.partition.state
        waiting = sum(len(client.waiting) for client in self._clients)
        unanswered = sum(len(client.unanswered) for client in self._clients)
        holding = sum(len(worker.runs) + len(worker.unsettled) for worker in self._workers)
        return (
            f"{len(state.jobs)} jobs live on, {waiting} ends were never told, {unanswered} submits never answered, "
            f"{holding} runs never over"
        )


def _limits(rng: Random) -> BacklogLimits:
    """Limits that clients will meet."""
    return BacklogLimits(rng.choice((3, 8, 20, 1_000)), rng.choice((60, 200, 100_000)))


_ACTIONS: list[tuple[Callable[[World], None], float]] = [
    (World.client_acts, 9),
    (World.worker_acts, 26),
    (World.network_moves, 30),
    (World.broker_decides, 14),
    (World.journal_moves, 14),
    (World.lookups_return, 2.5),
    (World.archive_commits, 1),
    (World.time_passes, 5),
    (World.time_leaps, 0.15),
    (World.wall_clock_is_set, 0.4),
    (World.connection_breaks, 0.8),
    (World.worker_dies, 0.6),
    (World.broker_crashes, 0.25),
    (World.replay_is_compared, 0.1),
]


def simulate(seed: int, steps: int = STEPS, say: Callable[[str], None] | None = None) -> Outcome:
    """One world from its seed; `Violation` if it breaks a promise."""
    with (
        homes_counted_by((1, 2, 5)[seed % 3]),
        small_registry() if is_declaring(seed) else nullcontext(),
        ids_freed_after() if has_owners(seed) else nullcontext(),
    ):
        return World(seed, say).run(steps)
