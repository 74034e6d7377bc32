"""The single writer: commands in, one batch at a time to the journal, and only then anything out.

Everything that is asked of the broker stands in line (see `line`). The engine takes what is there, lets core decide
and apply it as one batch, appends the batch, and when it is durable sends the replies and carries out the effects, in
order. A command that arrives meanwhile waits for the next batch, so commands share an fsync as soon as there are many.
Nothing leaves before the batch is durable, refusals and answers without an event included: there is one way out.

If an append fails, memory is ahead of the disk, and the engine stops for good: `run` raises, and nothing is answered
any more. What was asked is neither done nor refused: who asked is told by the end of its connection, and asks again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Protocol

from aioqueue.broker.bodies import Bodies
from aioqueue.broker.hearing import hear_all
from aioqueue.broker.line import Entry, Handler, Line, Query, give_back, nobody
from aioqueue.broker.lookup import ids_of, tell
from aioqueue.broker.overlay import Overlay
from aioqueue.broker.span import LogSpan
from aioqueue.broker.standstill import Standstill
from aioqueue.clock import Now, cpu_ns
from aioqueue.core import commands as c
from aioqueue.core.effects import Effect
from aioqueue.core.leasing import upcoming
from aioqueue.core.nouns import Job
from aioqueue.core.partition import Partition
from aioqueue.core.records import encode_events
from aioqueue.errors import JournalError, JournalUnavailable
from aioqueue.ground import Ground
from aioqueue.journal.base import Journal, Leadership
from aioqueue.journal.epoch import epoch_payload
from aioqueue.limits import AHEAD_JOBS, BATCH_EVENTS_TARGET, BUSY_COMMANDS, BUSY_GAP_MS, HEARTBEATS_A_TTL
from aioqueue.model.growth import LEVEL_FIRST

# A journal on a cluster may be without a leader for some seconds.
APPEND_PATIENCE_MS: Final = 30_000
APPEND_AGAIN_SECONDS: Final = 0.05
TAKEN_MAX: Final = 2 * BATCH_EVENTS_TARGET
_SIGNS_A_HEARTBEAT: Final = 4
# What is told of steps is of the latest: enough of them for one in a hundred to mean something.
_STEPS_KEPT: Final = 1_000


class Outlet(Protocol):
    """Where effects go when they are durable."""

    def carry_out(self, effects: Sequence[Effect], position: int) -> None: ...


class Engine:
    """One partition, its journal, and the line of commands before them."""

    def __init__(
        self,
        partition: Partition,
        journal: Journal,
        leadership: Leadership,
        overlay: Overlay,
        bodies: Bodies,
        outlet: Outlet,
        ground: Ground,
        span: LogSpan,
    ) -> None:
        self.partition = partition
        self.journal_id = leadership.journal_id
        self.epoch = leadership.epoch
        self.position = leadership.position
        self.journal = journal
        self._chain = leadership.chain
        self._owner = leadership.owner
        # Where the log states its format level for the last time.
        self._stated_at = leadership.position
        self._restates = False
        partition.level = leadership.level
        self._overlay = overlay
        self._bodies = bodies
        self._outlet = outlet
        self._ground = ground
        # Whether the last batch left nothing to do: then no free slot stands beside a ready job.
        self.settled = False
        # What the broker itself and those who work ask comes before what clients ask.
        self.work = Line()
        self.clients = Line()
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._lookups: set[asyncio.Task[None]] = set()
        # Commands about an id that is being looked up wait behind the one that asked first.
        self._parked: dict[bytes, list[Entry]] = {}
        # Commands that were looked up and not decided yet, by identity: their ids stay pinned in the overlay.
        self._looked: dict[int, Sequence[bytes]] = {}
        # Arguments that are being read ahead; `_fetched` says that some have come since the last batch.
        self._fetching: asyncio.Task[None] | None = None
        self._fetched = False
        # Nothing is decided or answered any more, and nothing can be asked.
        self.ended = False
        self._awaited: list[asyncio.Event] = []
        self.span = span
        # What the latest batches cost until they could be appended, in nanoseconds of processor time.
        self.steps_ns: deque[int] = deque(maxlen=_STEPS_KEPT)
        # Longer than a heartbeat means that this process was stopped or suspended, or that storage is slow. Peers who
        # were stopped with it for less have another heartbeat before their deadlines.
        self._late_ms_max = partition.session_ttl_ms // HEARTBEATS_A_TTL
        self._standstill = Standstill(ground, self._late_ms_max // _SIGNS_A_HEARTBEAT)

    # --- asking -----------------------------------------------------------------------------------------------------

    def post(
        self,
        command: c.Command | Query,
        handler: Handler,
        asker: Any = None,
        question: Any = None,
        *,
        line: Line | None = None,
    ) -> None:
        """Put a command into a line, that of the work for none; `handler` is called with the reply when that may leave.

        The lines have no bound, but those who post have: see `backlog`. Once the engine has ended, all is dropped.
        """
        if not self.ended:
            (line or self.work).post(command, handler, asker, question)
            self._wake.set()

    def restate_level(self, base: int) -> None:
        """The log will begin at `base`: before the next batch it states its format level behind that, if it has one."""
        self._restates = self.partition.level > LEVEL_FIRST and self._stated_at < base

    async def moved(self) -> None:
        """Wait until something more has been decided, or nothing more will be."""
        if self.ended:
            # Whoever asks again and again must not keep the event loop from all others.
            await asyncio.sleep(0)
            return
        self._moved.clear()
        await self._moved.wait()

    async def answered(self) -> None:
        """Wait until what was asked by now of those who work is answered, or nothing more will be."""
        if not self.ended:
            answered = asyncio.Event()
            self._awaited.append(answered)
            self.post(Query(lambda: None), _noted, answered)
            await answered.wait()
            self._awaited.remove(answered)

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled, or until the journal fails: then `JournalError` is raised."""
        try:
            await self._run()
        finally:
            self._end()

    def _end(self) -> None:
        self.ended = True
        self._standstill.stop()
        for task in (*self._lookups, *filter(None, (self._fetching,))):
            task.cancel()
        self.work.entries.clear()
        self.clients.entries.clear()
        self._parked.clear()
        self._moved.set()
        for answered in self._awaited:
            answered.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        now = self._ground.now()
        self.partition.begin(now)
        more, busy, started = True, False, 0.0
        self._standstill.start()
        while True:
            asked = self.work.entries or self.clients.entries
            rested_ms = 0 if more or asked or self._fetched else await self._rest(now)
            if busy:
                pause = started + BUSY_GAP_MS / 1000 - loop.time()
                if pause > 0:
                    await asyncio.sleep(pause)
            await self._overlay.room()
            last, now = now, self._ground.now()
            heard_up_to_ms = None
            if self.partition.seems_silent(now):
                heard_up_to_ms = now.mono_ms
                await hear_all()
                now = self._ground.now()
            late_ms = now.mono_ms - last.mono_ms - rested_ms
            if late_ms > self._late_ms_max:
                self._forgive(min(late_ms, self._standstill.taken(now.mono_ms)))
            started = loop.time()
            taken, more = await self._batch(now, heard_up_to_ms)
            busy = taken >= BUSY_COMMANDS

    async def _rest(self, now: Now) -> int:
        """Sleep until a command arrives or something is due by itself; how much of that was meant, in milliseconds."""
        self._wake.clear()
        wait_ms = self.partition.next_due(now)
        began_ms = self._ground.now().mono_ms
        # A timer by hand: `asyncio.timeout` costs a tenth of all that an idle broker does for a job.
        alarm = None if wait_ms is None else asyncio.get_running_loop().call_later(wait_ms / 1000, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            if alarm is not None:
                alarm.cancel()
        slept_ms = self._ground.now().mono_ms - began_ms
        return slept_ms if wait_ms is None else min(slept_ms, wait_ms)

    def _forgive(self, still_ms: int) -> None:
        """Move every session's deadline by the time in which this process stood still since the last batch began.

        Peers may have been stopped with it (a suspended machine), and could say nothing that would be heard now. What
        was read while storage stalled counts, late as it is decided: a disk that is always slow must not keep the dead
        alive.
        """
        if still_ms:
            self.work.entries.appendleft((c.SkipTime(still_ms), nobody, None, None, self.work))

    async def _batch(self, now: Now, heard_up_to_ms: int | None) -> tuple[int, bool]:
        """One batch, from the line to the replies; how many commands it took, and whether more is to do at once."""
        if self._restates or self.partition.level_needed > self.partition.level:
            await self._state_level(now)
        began_ns = cpu_ns()
        asked = self._take()
        commands = [entry[0] for entry in asked if type(entry[0]) is not Query]
        if self._fetched:
            self._end_fetch()
        held = None if self._bodies.are_complete(len(self.partition.state.jobs)) else self._bodies
        behind = (entry[0] for line in (self.work, self.clients) for entry in line.entries)
        step = self.partition.step(commands, now, self.position + 1, held, behind, heard_up_to_ms)  # type: ignore[arg-type]
        self.settled = not step.more and not step.missing
        replies = iter(step.replies)
        answers: list[tuple[Handler, Any, Any, Any]] = []
        self._bodies.take(step.arguments, step.effects)
        self._overlay.take(step.effects)
        left = step.taken
        for index, entry in enumerate(asked):
            command, handler, asker, question, _ = entry
            if type(command) is Query:
                if self._parked and (job := next(filter(self._parked.__contains__, command.jobs), None)) is not None:
                    # A command of this very batch, before it, is looked up.
                    self._parked[job].append(entry)
                    entry[4].aside += 1
                else:
                    answers.append((handler, asker, question, command.ask()))
            elif not left:
                give_back(asked[index:])
                break
            else:
                left -= 1
                reply = next(replies)
                if self._looked:
                    self._overlay.unpin(self._looked.pop(id(command), ()))
                if type(reply) is c.NeedsLookup:
                    self._look_up(reply.ids, entry)
                else:
                    answers.append((handler, asker, question, reply))
        for line in (self.work, self.clients):
            if line.reads:
                line.tell_decided()
        self._moved.set()
        data = b""
        if step.events:
            data = self._chain.encode(now.wall_ms, encode_events(step.events), step.bodies)
        self.steps_ns.append(cpu_ns() - began_ns)
        if data:
            self.position = await self._append(data)
            self.span.add(self.position, len(data))
        self._overlay.release(self.position)
        for handler, asker, question, reply in answers:
            handler(asker, question, reply)
        if step.effects:
            self._outlet.carry_out(step.effects, self.position)
        if held is not None:
            self._read_ahead(step.missing)
        return len(asked), step.more

    async def _state_level(self, now: Now) -> None:
        """Go on in an epoch whose record states the level, before the first batch that needs it."""
        partition = self.partition
        level = max(partition.level, partition.level_needed)
        data = self._chain.renew(now.wall_ms, epoch_payload(self._owner, level, renews=True))
        self.position = self._stated_at = await self._append(data)
        self.span.add(self.position, len(data))
        self.epoch, partition.level, self._restates = self._chain.epoch, level, False

    async def _append(self, data: bytes) -> int:
        """Append, with patience for a journal that says it wrote nothing; SQLite never says so, a cluster does."""
        deadline_ms: int | None = None
        while True:
            try:
                return await self.journal.append(data, self.position)
            except JournalUnavailable:
                now_ms = self._ground.now().mono_ms
                deadline_ms = deadline_ms or now_ms + APPEND_PATIENCE_MS
                if now_ms >= deadline_ms:
                    raise
                await asyncio.sleep(APPEND_AGAIN_SECONDS)

    def _take(self) -> list[Entry]:
        taken: list[Entry] = []
        work, clients, parked = self.work.entries, self.clients.entries, self._parked
        # A batch has no use for more, and a long line would be moved out and in again for each.
        while (work or clients) and len(taken) < TAKEN_MAX:
            entry = work.popleft() if work else clients.popleft()
            if parked:
                blocked = next((job_id for job_id in ids_of(entry[0]) if job_id in parked), None)
                if blocked is not None:
                    parked[blocked].append(entry)
                    entry[4].aside += 1
                    continue
            if self._looked and (ids := self._looked.get(id(entry[0]))) is not None:
                # It waited its turn since it was looked up: what ended meanwhile is still pinned in the overlay.
                ended = {job_id: row for job_id in ids if (row := self._overlay.find(job_id)) is not None}
                if not all(map(self._bodies.is_read, ended.values())):
                    # A requeue would submit it without its arguments: it is looked up again, and then they are read.
                    self._overlay.unpin(self._looked.pop(id(entry[0])))
                    self._look_up(ids, entry)
                    continue
                if ended:
                    tell(entry[0], ended, ended)
            taken.append(entry)
        return taken

    # --- reading ahead ----------------------------------------------------------------------------------------------

    def _read_ahead(self, missing: Sequence[Job]) -> None:
        """Fetch the arguments that leases wait for, and those that come next, unless a fetch is under way."""
        if self._fetching is None and (missing or self._bodies.runs_low):
            plan = self._bodies.plan(missing, upcoming(self.partition.state, AHEAD_JOBS))
            if plan.jobs:
                self._fetching = asyncio.get_running_loop().create_task(self._bodies.fetch(plan))
                self._fetching.add_done_callback(self._fetch_ended)

    def _fetch_ended(self, fetching: asyncio.Task[None]) -> None:
        self._fetched = True
        self._wake.set()

    def _end_fetch(self) -> None:
        """What was fetched is at hand. A failure is met here, where all failures of the journal are met."""
        self._fetched = False
        if self._fetching is not None and self._fetching.done():
            fetching, self._fetching = self._fetching, None
            fetching.result()

    # --- looking beside core ----------------------------------------------------------------------------------------

    def _look_up(self, ids: Sequence[bytes], entry: Entry) -> None:
        entry[4].aside += 1
        self._overlay.pin(ids)
        first = next((job_id for job_id in ids if job_id in self._parked), None)
        if first is not None:
            # Another of this very batch asks for the same job, and was before it.
            self._looked[id(entry[0])] = ids
            self._parked[first].append(entry)
            return
        for job_id in ids:
            self._parked[job_id] = []
        task = asyncio.get_running_loop().create_task(self._looked_up(ids, entry))
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    async def _looked_up(self, ids: Sequence[bytes], entry: Entry) -> None:
        command, handler, asker, question, line = entry
        waiting = [entry]
        try:
            found = await self._overlay.look_up(ids)
        except JournalError as error:
            # The end of a run is never refused, for its worker holds nothing more than that: where the archive's row
            # cannot be read, it is one that is not counted.
            found = {}
            if not isinstance(command, c.SettleRuns | c.ResumeSession):
                waiting.clear()
                self._overlay.unpin(ids)
                handler(asker, question, error)
        if waiting:
            tell(command, ids, found)
            self._looked[id(command)] = ids
        line.aside -= 1
        for job_id in ids:
            parked = self._parked.pop(job_id, [])
            for other in parked:
                other[4].aside -= 1
            waiting += parked
        # Before what was asked since, or one that asked of these jobs twice would be answered in another order.
        give_back(waiting)
        self._wake.set()


def _noted(answered: asyncio.Event, question: None, reply: Any) -> None:
    """All that was asked before has been answered."""
    answered.set()
