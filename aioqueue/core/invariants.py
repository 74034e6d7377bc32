"""The promises as checks: `check_state` judges one state, `History` judges a journal alone.

Tests, the simulator and `aioqueue check` use them; a running broker does not. `History` keeps a small model of its own
and shares no code with `decide`, `apply` and the lanes, so that it cannot make their mistakes with them. The numbers
(I3, I4, ...) are those of the promises in `docs/internals/promises.md`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from functools import lru_cache
from heapq import heappop, heappush
from typing import Any, Final

from aioqueue.core import events as e
from aioqueue.core import homes
from aioqueue.core.commands import SessionEnd
from aioqueue.core.invariants_terms import Bounds, check_heap, check_terms
from aioqueue.core.leasing import idle_beside_work, pool_head
from aioqueue.core.state import Job, Pool, State
from aioqueue.limits import CRASHES_MAX
from aioqueue.model.spec import RetryPolicy, Spec, unpack_spec
from aioqueue.model.states import TERMINAL, JobState

_STATES: Final = max(JobState) + 1
# What a run that was told to stop makes of its job, save by a late success.
_STOPPED: Final = frozenset({JobState.CANCELLED, JobState.EXPIRED})
_LEASED: Final = frozenset({JobState.RUNNING, JobState.STOPPING})

# --- one state ----------------------------------------------------------------------------------------------------


def check_state(state: State, *, settled: bool = True, held: Container[bytes] | None = None) -> list[str]:
    """Every promise that one state can break; empty if it keeps them all.

    `settled` says that the step that led here left nothing to do (`more` was False), so that no free capacity may
    stand beside a ready job. `held` are the jobs whose arguments are at hand (None for all); a line waits for those of
    its head.
    """
    found = [f"I2: job {key.hex()} is kept under another id" for key, job in state.jobs.items() if job.id != key]
    for job in state.jobs.values():
        found += _check_job(state, job)
    found += _check_queues(state)
    size = sum(job.body_bytes + len(job.extra or b"") for job in state.jobs.values())
    if state.admission.size != size:
        found.append(f"I20: the living jobs were counted as {state.admission.size} bytes, they are {size}")
    found += _check_sessions(state)
    found += _check_due(state)
    found += _check_homes(state)
    found += check_terms(state, settled=settled)
    if settled:
        found += [
            f"liveness: session {session.number} could have one of {ready} ready jobs"
            for session, ready in idle_beside_work(state)
        ]
        for (namespace, queues), pool in state.pools.items():
            if _idle_beside_work(state, pool) and not (held is not None and _waits_for_arguments(pool, held)):
                found.append(f"liveness: a ready job of {namespace}/{','.join(queues)} stands beside a free slot")
    return found


def _idle_beside_work(state: State, pool: Pool) -> bool:
    """Whether a session could have a job that is ready; one that drains for a suspect could not."""
    hungry = pool.hungry.values()
    lonely = any(queue.suspects.solitary for queue in pool.queues)
    spare = int(lonely and not any(state.sessions[number].alone for number in pool.members))
    return (
        (pool_head(pool) is not None and len(hungry) > spare)
        or (lonely and any(not session.leases for session in hungry))
        or (
            any(queue.suspects.among_others for queue in pool.queues)
            and sum(session.suspect is None for session in hungry) > spare
        )
    )


def _waits_for_arguments(pool: Pool, held: Container[bytes]) -> bool:
    """Whether one that stands at a head has its arguments in the journal only."""
    suspects = [queue.suspects for queue in pool.queues]
    heads = [line[0] for each in suspects for line in (each.among_others, each.solitary) if line]
    plain = pool_head(pool)
    return any(job.id not in held for job in (heads if plain is None else [plain, *heads]))


class _Name:
    """How a violation calls a job; made only where there is one."""

    __slots__ = ("_job",)

    def __init__(self, job: Job) -> None:
        self._job = job

    def __str__(self) -> str:
        return f"job {self._job.id.hex()} ({self._job.state.label})"


def _check_job(state: State, job: Job) -> list[str]:
    found: list[str] = []
    name = _Name(job)
    if job.state in TERMINAL:
        found.append(f"I5: {name} is over and still lives")
    if job.fence >= state.next_fence or job.seq >= state.next_seq:
        found.append(f"I4: {name} has fence {job.fence} and place {job.seq} that were not given out yet")
    if (job.state is JobState.SCHEDULED) != (job.due_ms > 0):
        found.append(f"I9: {name} has the due time {job.due_ms}")
    if job.failures >= job.spec.retry.attempts:
        found.append(f"I8: {name} has {job.failures} failures, its cap is {job.spec.retry.attempts}")
    if job.crashes >= CRASHES_MAX or job.failures > job.runs:
        found.append(f"I8: {name} has {job.crashes} crashes and {job.failures} failures in {job.runs} runs")
    holder = state.sessions.get(job.session)
    if job.state in _LEASED:
        if holder is None or holder.leases.get(job.id) is not job:
            found.append(f"I3: {name} is held by session {job.session}, which does not know it")
        elif not holder.journaled:
            found.append(f"I3: {name} is held by session {job.session}, which the journal does not know")
        if not job.fence:
            found.append(f"I4: {name} runs without a fence")
    elif job.session:
        found.append(f"I3: {name} names session {job.session} and does not run")
    return found


def _check_queues(state: State) -> list[str]:
    found: list[str] = []
    counts: dict[tuple[str, str], list[int]] = {}
    ready: dict[tuple[str, str], list[Job]] = {}
    for job in state.jobs.values():
        key = (job.spec.namespace, job.spec.queue)
        counts.setdefault(key, [0] * _STATES)[job.state] += 1
        if job.state is JobState.READY:
            ready.setdefault(key, []).append(job)
    for key, queue in state.queues.items():
        if queue.counts != counts.pop(key, [0] * _STATES):
            found.append(f"I2: the counts of {key} are {queue.counts}")
        due = sorted(ready.pop(key, []), key=lambda job: (-job.spec.priority, job.seq))
        suspects = [job for job in due if job.crashes]
        due = [job for job in due if not job.crashes]
        if list(queue.suspects.in_order()) != suspects:
            found.append(f"I10: {len(queue.suspects)} suspects of {key} stand in line, {len(suspects)} are ready")
        lane = list(queue.lane.in_order())
        if [job.id for job in lane] != [job.id for job in due]:
            found.append(f"I10: the lane of {key} holds {len(lane)} jobs out of order, {len(due)} are ready")
        if queue.lane.depth != len(due) or queue.lane.head() is not (due[0] if due else None):
            found.append(f"I10: the lane of {key} has depth {queue.lane.depth} and another head, {len(due)} are ready")
    suspects_ready = sum(len(queue.suspects) for queue in state.queues.values())
    if state.suspects_ready != suspects_ready:
        found.append(f"I10: {state.suspects_ready} suspects were counted, {suspects_ready} are ready")
    found += [f"I2: jobs of {key} stand in no queue" for key in counts]
    return found


def _check_sessions(state: State) -> list[str]:
    found: list[str] = []
    if {session.secret_hash: number for number, session in state.sessions.items()} != state.session_of:
        found.append("I2: the sessions are not those that their secrets lead to")
    hungry = {number for pool in state.pools.values() for number in pool.hungry}
    for number, session in state.sessions.items():
        if number != session.number or number >= state.next_session:
            found.append(f"I2: session {session.number} is kept as {number}, the next is {state.next_session}")
        for job_id, job in session.leases.items():
            if state.jobs.get(job_id) is not job or job.state not in _LEASED or job.session != number:
                found.append(f"I3: session {number} holds job {job_id.hex()}, which does not run there")
        suspects = [job for job in session.leases.values() if job.crashes]
        if suspects != ([] if session.suspect is None else [session.suspect]):
            found.append(f"I8: session {number} holds {len(suspects)} suspects")
        alone = any(job.crashes >= CRASHES_MAX - 1 for job in suspects)
        if alone and len(session.leases) > 1:
            found.append(f"I8: session {number} holds {len(session.leases) - 1} jobs beside one that runs alone")
        pool = state.pools.get((session.namespace, session.link.queues))
        free = session.link.slots > len(session.leases) and not alone
        if free != (pool is not None and pool.hungry.get(number) is session):
            fed = "is not" if free else "is"
            found.append(f"liveness: session {number} has {session.free} free slots and {fed} fed")
        if (session.link.slots > 0) != (pool is not None and number in pool.members):
            found.append(f"I20: session {number} with {session.link.slots} slots and its pool do not know each other")
        hungry.discard(number)
    found += [f"liveness: session {number} is over and would be fed" for number in hungry]
    found += [f"I20: the pool {key} has no members" for key, pool in state.pools.items() if not pool.members]
    return found


def _check_due(state: State) -> list[str]:
    entries = {(due_ms, job_id) for due_ms, _, job_id in state.due.entries}
    scheduled = [job for job in state.jobs.values() if job.state is JobState.SCHEDULED]
    found = [
        f"liveness: nothing will wake job {job.id.hex()}" for job in scheduled if (job.due_ms, job.id) not in entries
    ]
    if (entry := state.due.head()) is not None:
        head = state.jobs.get(entry[2])
        if head is None or head.state is not JobState.SCHEDULED or head.due_ms != entry[0]:
            found.append("I9: the next due job is none that waits")
    return found + check_heap(state.due, "I9")


def _check_homes(state: State) -> list[str]:
    """What recovery will need lies at the base or behind it, and is counted where it lies."""
    items = [(job.home, homes.job_bytes(job)) for job in state.jobs.values()]
    items += [(session.home, homes.SESSION_BYTES) for session in state.sessions.values() if session.journaled]
    counts: dict[int, int] = {}
    for home, _ in items:
        place = homes.place_of(home)
        counts[place] = counts.get(place, 0) + 1
    found: list[str] = []
    if counts != state.homes.counted() or list(state.homes.counted()) != sorted(counts):
        found.append(f"I17: items are counted at {state.homes.counted()}, they are at {counts}")
    if sum(size for _, size in items) != state.homes.items_bytes:
        found.append(f"I17: the items weigh {sum(size for _, size in items)} bytes, not {state.homes.items_bytes}")
    lowest = min((home for home, _ in items), default=state.base)
    if lowest < state.base:
        found.append(f"I17: the base is {state.base}, and an item has its home at {lowest}")
    return found


# --- a journal ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1_000)
def _spec(packed: bytes) -> Spec:
    return unpack_spec(packed)


# A heap of (-priority, place, id).
_Line = list[tuple[int, int, bytes]]


class Life:
    """One job as `History` sees it. `place` is where it stands in its line, `fences` all its leases ever."""

    __slots__ = (
        "cap", "crashes", "due_ms", "ends", "failures", "fence", "fences", "generation", "line", "place", "priority",
        "retry", "runs", "session", "state",
    )  # fmt: skip

    def __init__(self, spec: bytes) -> None:
        known = _spec(spec)
        self.line = (known.namespace, known.queue)
        self.priority = known.priority
        self.retry = known.retry
        self.cap = known.retry.attempts
        self.ends: dict[int, JobState] = {}
        self.fences: list[int] = []
        self.generation = -1

    def begin(self, generation: int, state: JobState, due_ms: int) -> None:
        self.generation = generation
        self.state = state
        self.due_ms = due_ms
        self.place = self.failures = self.crashes = self.runs = self.fence = self.session = 0


class History:
    """Judges a journal from its first batch on: `observe` each batch, and read `violations`.

    `lives` is every job that ever was; `last_fence` the highest fence so far.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.lives: dict[bytes, Life] = {}
        self.last_fence = 0
        self.bounds = Bounds(self._say, self.lives)
        self._last_seq = 0
        self._places = 0
        self._position = 0
        self._base = 1
        self._sessions: dict[int, set[bytes]] = {}
        self._ended_sessions: set[int] = set()
        # Ready jobs by queue: heaps of (-priority, place, id), of which some moved on.
        # Which of them a session may have depends on their crashes, so those with none, some and the last allowed
        # stand apart.
        self._lines: dict[tuple[str, str], tuple[_Line, _Line, _Line]] = {}
        # Crashes that no end of a session has explained yet: session -> (crashes before, the event).
        self._unexplained: dict[int, list[tuple[int, e.JobCrashed]]] = {}

    def observe(self, events: Sequence[e.Event], wall_ms: int, position: int) -> list[str]:
        """Judge one batch; what it broke."""
        before = len(self.violations)
        if position <= self._position:
            self._say(f"I2: batch {position} follows batch {self._position}")
        self._position = position
        for event in events:
            _JUDGE[type(event)](self, event, wall_ms)
        for session in self._unexplained:
            self._say(f"I8: jobs of session {session} crashed, and it goes on")
        self._unexplained.clear()
        return self.violations[before:]

    def _say(self, violation: str) -> None:
        self.violations.append(f"{violation} [batch {self._position}]")

    # --- jobs ---

    def submitted(self, event: e.JobSubmitted, wall_ms: int) -> None:
        life = self.lives.get(event.id)
        name = event.id.hex()
        if life is None:
            life = self.lives[event.id] = Life(event.spec)
            if event.generation:
                self._say(f"I5: job {name} was requeued and never lived")
        elif not event.generation:
            self._say(f"I14: job {name} was accepted twice")
        else:
            end = life.ends.get(life.generation)
            if end not in (JobState.DEAD, JobState.CANCELLED, JobState.EXPIRED):
                self._say(f"I5: job {name} was requeued, and it is {end.label if end else 'alive'}")
        if event.generation != life.generation + 1:
            self._say(f"I7: generation {event.generation} of job {name} follows generation {life.generation}")
        self.bounds.begun(event, life.line)
        life.begin(event.generation, event.state, event.due_ms)
        if event.state is JobState.SCHEDULED:
            if event.due_ms <= wall_ms:
                self._say(f"I9: job {name} waits for {event.due_ms}, and it is {wall_ms}")
        elif event.state is not JobState.READY or event.due_ms:
            self._say(f"I9: job {name} begins {event.state.label}, due {event.due_ms}")
        self._take_seq(event.seq, name)
        if event.state is JobState.READY:
            self._new_place(event.id, life)

    def due(self, event: e.JobDue, wall_ms: int) -> None:
        life = self._in_state(event, JobState.SCHEDULED)
        if life is None:
            return
        if wall_ms < life.due_ms:
            self._say(f"I9: job {event.id.hex()} was due at {life.due_ms}, and was woken at {wall_ms}")
        life.state = JobState.READY
        self._take_seq(event.seq, event.id.hex())
        self._new_place(event.id, life)

    def leased(self, event: e.JobLeased, wall_ms: int) -> None:
        name = event.id.hex()
        if event.fence <= self.last_fence:
            self._say(f"I4: fence {event.fence} of job {name} does not rise above {self.last_fence}")
        self.last_fence = max(self.last_fence, event.fence)
        held = self._sessions.get(event.session)
        if held is None:
            self._say(f"I3: job {name} was leased to session {event.session}, which the journal does not know")
            held = self._sessions[event.session] = set()
        life = self._in_state(event, JobState.READY)
        if life is None:
            return
        if event.run != life.runs + 1:
            self._say(f"I8: run {event.run} of job {name} follows run {life.runs}")
        self.bounds.leased(event.id, event.run, wall_ms)
        self._judge_turn(event.id, life, held)
        self._judge_cohort(name, life, held)
        held.add(event.id)
        life.state = JobState.RUNNING
        life.fence, life.session, life.runs = event.fence, event.session, event.run
        life.fences.append(event.fence)

    def stopping(self, event: e.JobStopping, wall_ms: int) -> None:
        life = self.lives.get(event.id)
        if life is None or life.state is not JobState.RUNNING or life.fence != event.fence:
            self._say(f"I6: job {event.id.hex()} was told to stop, and does not run with fence {event.fence}")
        else:
            life.state = JobState.STOPPING
            self.bounds.stopping(event.id, event.cause, wall_ms)

    def succeeded(self, event: e.JobSucceeded, wall_ms: int) -> None:
        life = self._run_over(event)
        if life is not None:
            self._end(event.id, life, JobState.SUCCEEDED)

    def failed(self, event: e.JobFailed, wall_ms: int) -> None:
        life = self._run_over(event)
        if life is None:
            return
        life.failures += 1
        if self._ended_stopping(event, life, event.state):
            return
        if event.state is JobState.DEAD:
            self._end(event.id, life, JobState.DEAD)
            return
        if life.failures >= life.cap:
            self._say(f"I8: job {event.id.hex()} failed {life.failures} times and goes on, its cap is {life.cap}")
        low, high = _pause_bounds(life.retry, life.failures)
        if not low <= event.due_ms - wall_ms <= high:
            self._say(f"I9: job {event.id.hex()} pauses {event.due_ms - wall_ms} ms, its policy says {low} to {high}")
        self.bounds.paused(event.id, event.due_ms)
        life.state, life.due_ms = JobState.SCHEDULED, event.due_ms

    def released(self, event: e.JobReleased, wall_ms: int) -> None:
        life = self._run_over(event)
        if life is None:
            return
        if life.state is JobState.STOPPING:
            self._end(event.id, life, self.bounds.stopped_end(event.id))
        else:
            life.state = JobState.READY
            self._stand(event.id, life)

    def crashed(self, event: e.JobCrashed, wall_ms: int) -> None:
        session = self.lives[event.id].session if event.id in self.lives else 0
        life = self._run_over(event)
        if life is None:
            return
        self._unexplained.setdefault(session, []).append((life.crashes, event))
        life.crashes = event.crashes
        if self._ended_stopping(event, life, event.state):
            return
        if (event.state is JobState.DEAD) != (event.crashes >= CRASHES_MAX) or event.crashes > CRASHES_MAX:
            self._say(f"I8: job {event.id.hex()} is {event.state.label} after {event.crashes} crashes")
        if event.state is JobState.DEAD:
            self._end(event.id, life, JobState.DEAD)
        else:
            life.state = JobState.READY
            self._stand(event.id, life)

    def cancelled(self, event: e.JobCancelled, wall_ms: int) -> None:
        life = self.lives.get(event.id)
        if life is None or life.generation in life.ends:
            self._say(f"I7: job {event.id.hex()} was cancelled, and it does not live")
        elif life.state in _LEASED:
            self._say(f"I6: job {event.id.hex()} was cancelled under its worker's hands")
        else:
            self._end(event.id, life, JobState.CANCELLED)
            self.bounds.doom(event.id)

    def expired(self, event: e.JobExpired, wall_ms: int) -> None:
        life = self.lives.get(event.id)
        if life is None or life.generation in life.ends:
            self._say(f"I7: job {event.id.hex()} expired, and it does not live")
        elif life.state in _LEASED:
            self._say(f"I22: job {event.id.hex()} expired under its worker's hands")
        else:
            self.bounds.expired(event.id, life, event.cause, wall_ms)
            self._end(event.id, life, JobState.EXPIRED)

    # --- sessions ---

    def session_opened(self, event: e.SessionOpened, wall_ms: int) -> None:
        if event.number in self._sessions or event.number in self._ended_sessions:
            self._say(f"I3: session {event.number} was opened twice")
        self._sessions.setdefault(event.number, set())

    def session_ended(self, event: e.SessionEnded, wall_ms: int) -> None:
        held = self._sessions.pop(event.number, None)
        if held is None:
            self._say(f"I3: session {event.number} ended, and it was not there")
        elif held:
            self._say(f"I3: session {event.number} ended and left {len(held)} leases behind")
        self._ended_sessions.add(event.number)
        for before, crash in self._unexplained.pop(event.number, []):
            allowed = before + 1
            if event.cause is SessionEnd.EXPIRED:
                allowed = min(allowed, max(before, CRASHES_MAX - 1))
            if event.cause is SessionEnd.GOODBYE or crash.crashes != allowed:
                self._say(f"I8: job {crash.id.hex()} has {crash.crashes} crashes after the end {event.cause.name}")

    # --- carried ---

    def session_carried(self, event: e.SessionCarried, wall_ms: int) -> None:
        if event.number not in self._sessions:
            self._say(f"I3: session {event.number} was carried, and it is over")

    def job_carried(self, event: e.JobCarried, wall_ms: int) -> None:
        life = self.lives.get(event.id)
        name = event.id.hex()
        if life is None or life.generation in life.ends or life.generation != event.generation:
            self._say(f"I5: job {name} was carried as {event.state.label}, and it does not live")
            return
        told = (event.state, event.failures, event.crashes, event.runs)
        known = (life.state, life.failures, life.crashes, life.runs)
        if told != known:
            self._say(f"I2: job {name} was carried as {told}, and it is {known}")
        if life.state in _LEASED and (event.fence, event.session) != (life.fence, life.session):
            self._say(f"I4: job {name} was carried with fence {event.fence}, it runs with {life.fence}")
        self.bounds.carried(event)
        if event.state is JobState.SCHEDULED and event.due_ms != life.due_ms:
            self._say(f"I9: job {name} was carried as due at {event.due_ms}, it is due at {life.due_ms}")

    def base_moved(self, event: e.BaseMoved, wall_ms: int) -> None:
        if event.base <= self._base or event.head >= self._position:
            self._say(f"I17: the base {event.base} follows {self._base}, its head is {event.head}")
        self._base = event.base
        if event.next_fence <= self.last_fence or event.next_seq <= self._last_seq:
            self._say(f"I4: the base counts on from fence {event.next_fence} and place {event.next_seq}")

    # --- parts ---

    def _take_seq(self, seq: int, name: str) -> None:
        if seq <= self._last_seq:
            self._say(f"I10: job {name} takes the place {seq}, and {self._last_seq} was taken before")
        self._last_seq = seq

    def _new_place(self, job_id: bytes, life: Life) -> None:
        self._places += 1
        life.place = self._places
        self._stand(job_id, life)

    def _stand(self, job_id: bytes, life: Life) -> None:
        lines = self._lines.setdefault(life.line, ([], [], []))
        heappush(lines[_kind(life)], (-life.priority, life.place, job_id))

    def _judge_cohort(self, name: str, life: Life, held: set[bytes]) -> None:
        """An innocent job never dies of its neighbour's crash: nobody is beside a job that the next crash kills."""
        neighbours = [self.lives[other].crashes for other in held]
        if neighbours and life.crashes >= CRASHES_MAX - 1:
            self._say(f"I8: job {name} has {life.crashes} crashes, and was leased beside {len(held)} others")
        elif any(crashes >= CRASHES_MAX - 1 for crashes in neighbours):
            self._say(f"I8: job {name} was leased beside one that must run alone")
        elif life.crashes and any(neighbours):
            self._say(f"I8: job {name} was leased beside another suspect")

    def _judge_turn(self, job_id: bytes, life: Life, held: set[bytes]) -> None:
        """No ready job that the session might have stands before this one."""
        neighbours = [self.lives[other].crashes for other in held]
        allowed = (True, not any(neighbours), not neighbours)
        mine = (-life.priority, life.place, job_id)
        for kind, (line, may_have) in enumerate(zip(self._lines[life.line], allowed, strict=True)):
            while line and (line[0] == mine or not self._is_ready(line[0], kind)):
                heappop(line)
            if may_have and line and line[0] < mine:
                promise = "I11" if line[0][0] < mine[0] else "I10"
                self._say(f"{promise}: job {job_id.hex()} was leased, and it was the turn of {line[0][2].hex()}")

    def _is_ready(self, entry: tuple[int, int, bytes], kind: int) -> bool:
        life = self.lives[entry[2]]
        return life.state is JobState.READY and life.place == entry[1] and _kind(life) == kind

    def _in_state(self, event: e.JobDue | e.JobLeased, state: JobState) -> Life | None:
        life = self.lives.get(event.id)
        what = f"{type(event).__name__} of job {event.id.hex()}"
        if life is None:
            self._say(f"I2: {what}, which was never submitted")
        elif life.generation in life.ends:
            self._say(f"I5: {what}, which is {life.ends[life.generation].label}")
        elif life.state is not state:
            promise = {JobState.RUNNING: "I3", JobState.STOPPING: "I6", JobState.SCHEDULED: "I9"}.get(life.state, "I5")
            self._say(f"{promise}: {what}, which is {life.state.label}")
        else:
            return life
        return None

    def _run_over(self, event: e.JobSucceeded | e.JobFailed | e.JobReleased | e.JobCrashed) -> Life | None:
        life = self.lives.get(event.id)
        what = f"{type(event).__name__} of job {event.id.hex()} with fence {event.fence}"
        if life is None:
            self._say(f"I2: {what}, which was never submitted")
        elif life.generation in life.ends:
            self._say(f"I7: {what}, which is {life.ends[life.generation].label}")
        elif life.state not in _LEASED or life.fence != event.fence:
            self._say(f"I4: {what}; it is {life.state.label} with fence {life.fence}")
        else:
            self._sessions.get(life.session, set()).discard(event.id)
            life.session = 0
            return life
        return None

    def _ended_stopping(self, event: e.JobFailed | e.JobCrashed, life: Life, after: JobState) -> bool:
        """Whether a run that was told to stop is over, and its job with it; nothing else may cancel a run."""
        stopped = life.state is JobState.STOPPING
        if stopped != (after in _STOPPED) or (stopped and after is not self.bounds.stopped_end(event.id)):
            self._say(
                f"I6: job {event.id.hex()} was {life.state.label}, and is {after.label} by a {type(event).__name__}"
            )
        if after in _STOPPED:
            self._end(event.id, life, after)
        return after in _STOPPED

    def _end(self, job_id: bytes, life: Life, end: JobState) -> None:
        life.ends[life.generation] = end
        life.state = end


def _kind(life: Life) -> int:
    return min(life.crashes, CRASHES_MAX - 1)


def _pause_bounds(policy: RetryPolicy, failures: int) -> tuple[int, int]:
    """The shortest and longest pause that a policy allows, from the table of options in the reference."""
    factor = {"constant": 1.0, "linear": float(failures)}.get(policy.backoff)
    if factor is None:
        growth = (failures - 1) * math.log(policy.factor)
        factor = math.exp(growth) if growth < 700 else math.inf
    pause = min(float(policy.cap_ms), policy.base_ms * factor) if policy.base_ms else 0.0
    spread = 0.1 if policy.jitter else 0.0
    # One ms for the rounding up, and the difference between a power and the exponential of a logarithm.
    slack = 1 + pause * 1e-9
    return math.floor(pause * (1 - spread) - slack), math.ceil(pause * (1 + spread) + slack)


_JUDGE: dict[type[e.Event], Callable[[History, Any, int], None]] = {
    e.JobSubmitted: History.submitted,
    e.JobDue: History.due,
    e.JobLeased: History.leased,
    e.JobSucceeded: History.succeeded,
    e.JobFailed: History.failed,
    e.JobReleased: History.released,
    e.JobCrashed: History.crashed,
    e.JobCancelled: History.cancelled,
    e.JobStopping: History.stopping,
    e.JobExpired: History.expired,
    e.SessionOpened: History.session_opened,
    e.SessionEnded: History.session_ended,
    e.SessionCarried: History.session_carried,
    e.JobCarried: History.job_carried,
    e.BaseMoved: History.base_moved,
}
