"""The promises that a journal alone can break: one judge for each event, in one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from aioqueue.core import events as e
from aioqueue.core.invariants.bounds import Bounds, pause_bounds
from aioqueue.core.invariants.life import Life
from aioqueue.core.invariants.offers import Offers
from aioqueue.core.invariants.settings import Settings
from aioqueue.core.invariants.stages import Stages
from aioqueue.core.invariants.turns import Turns
from aioqueue.limits import CRASHES_MAX, OWN_ID_FREED_MS, TOMBSTONE_MS
from aioqueue.model.ids import is_own_id
from aioqueue.model.records import NO_TERMS
from aioqueue.model.states import JobState, SessionEnd

# What a run that was told to stop makes of its job, save by a late success.
_STOPPED: Final = frozenset({JobState.CANCELLED, JobState.EXPIRED})
_LEASED: Final = frozenset({JobState.RUNNING, JobState.STOPPING})


class History:
    """Judges a journal from its first batch on: `observe` each batch, and read `violations`.

    `lives` is every job that ever was; `last_fence` the highest fence so far.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.lives: dict[bytes, Life] = {}
        self.last_fence = 0
        self.bounds = Bounds(self._say, self.lives)
        self.turns = Turns(self._say, self.lives, self.bounds)
        self.stages = Stages(self._say, self.lives)
        self.settings = Settings(self._say)
        self._last_seq = 0
        self._position = 0
        self._wall_ms = 0
        self._set_back_at = 0
        self._base = 1
        self._sessions: dict[int, set[bytes]] = {}
        self._ended_sessions: set[int] = set()
        # Crashes that no end of a session has explained yet: session -> (crashes before, the event).
        self._unexplained: dict[int, list[tuple[int, e.JobCrashed]]] = {}

    def observe(
        self, events: Sequence[e.Event], wall_ms: int, position: int, offers: Offers | None = None
    ) -> list[str]:
        """Judge one batch; what it broke. `offers` are what sessions took when it was made, where that is known."""
        self.turns.offers = offers
        before = len(self.violations)
        if position <= self._position:
            self._say(f"I2: batch {position} follows batch {self._position}")
        self._position = position
        if wall_ms < self._wall_ms:
            self._set_back_at = position
        self._wall_ms = wall_ms
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
        first = (event.terms or NO_TERMS).first_generation
        if life is not None and not event.generation and life.generation in life.ends:
            # What nobody knows of any more may come for the first time once more.
            life = None if wall_ms > life.ended_ms + TOMBSTONE_MS else life
        if life is None:
            life = self.lives[event.id] = Life(event.spec)
            if event.generation:
                self._say(f"I5: job {name} was requeued and never lived")
        elif first == event.generation:
            self._used_again(event, life, wall_ms)
        else:
            end = life.ends.get(life.generation)
            if end not in (JobState.DEAD, JobState.CANCELLED, JobState.EXPIRED):
                self._say(f"I5: job {name} was requeued, and it is {end.label if end else 'alive'}")
            if first != life.first:
                self._say(f"I14: job {name} was requeued as of generation {first}, its id is used from {life.first} on")
        if event.generation != life.generation + 1:
            self._say(f"I7: generation {event.generation} of job {name} follows generation {life.generation}")
        self.bounds.begun(event, life.line)
        life.begin(event.generation, event.state, event.due_ms)
        if event.state is JobState.SCHEDULED:
            if event.due_ms <= wall_ms:
                self._say(f"I9: job {name} waits for {event.due_ms}, and it is {wall_ms}")
        elif event.state is not JobState.BLOCKED and (event.state is not JobState.READY or event.due_ms):
            self._say(f"I9: job {name} begins {event.state.label}, due {event.due_ms}")
        self._take_seq(event.seq, name)
        if event.state is JobState.READY:
            self.turns.new_place(event.id, life)

    def _used_again(self, event: e.JobSubmitted, life: Life, wall_ms: int) -> None:
        """A submit that is no requeue of the job that had its id: of a caller's own id, long after that was over."""
        name = event.id.hex()
        if not event.generation or not is_own_id(event.id):
            self._say(f"I14: job {name} was accepted twice")
        elif life.generation not in life.ends:
            self._say(f"I14: the id of job {name} was used again while it lived")
        elif life.ended_at >= self._set_back_at and wall_ms <= life.ended_ms + OWN_ID_FREED_MS:
            # Where the clock was set back since, nobody can tell from the journal how long that is ago.
            self._say(f"I14: the id of job {name}, which ended at {life.ended_ms}, was used again at {wall_ms}")
        life.begin_use(event.spec, event.generation)

    def due(self, event: e.JobDue, wall_ms: int) -> None:
        life = self._in_state(event, JobState.SCHEDULED)
        if life is None:
            return
        if wall_ms < life.due_ms:
            self._say(f"I9: job {event.id.hex()} was due at {life.due_ms}, and was woken at {wall_ms}")
        life.state = JobState.READY
        self._take_seq(event.seq, event.id.hex())
        self.turns.new_place(event.id, life)

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
        family = self.bounds.ancestors(event.id)
        self.turns.judge_fit(name, life, event.session, held)
        self.turns.judge_turn(event.id, life, event.session, held, family)
        self.turns.judge_cohort(name, life, held, family)
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
        low, high = pause_bounds(life.retry, life.failures)
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
            self.turns.stand(event.id, life)

    def misfit(self, event: e.JobMisfit, wall_ms: int) -> None:
        life = self._run_over(event)
        if life is None:
            return
        if life.state is JobState.STOPPING:
            self._say(f"I6: job {event.id.hex()} was told to stop, and was given back as a misfit")
        life.state = JobState.READY
        self.turns.stand(event.id, life)

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
            self.turns.stand(event.id, life)

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
            self._say(f"I36: job {event.id.hex()} expired under its worker's hands")
        else:
            self.bounds.expired(event.id, life, event.cause, wall_ms)
            self._end(event.id, life, JobState.EXPIRED)

    def bulk_freed(self, event: e.BulkFreed, wall_ms: int) -> None:
        seq = event.seq
        for job_id, life, after in self.stages.freed(event, wall_ms):
            if after is JobState.CANCELLED:
                self._end(job_id, life, after)
                self.bounds.doom(job_id)
                continue
            life.state = after
            if after is JobState.READY:
                self._take_seq(seq, job_id.hex())
                self.turns.new_place(job_id, life)
                seq += 1

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

    def _run_over(
        self, event: e.JobSucceeded | e.JobFailed | e.JobReleased | e.JobMisfit | e.JobCrashed
    ) -> Life | None:
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
        life.ended_ms, life.ended_at = self._wall_ms, self._position


_JUDGE: dict[type[e.Event], Callable[[History, Any, int], None]] = {
    e.JobSubmitted: History.submitted,
    e.JobDue: History.due,
    e.JobLeased: History.leased,
    e.JobSucceeded: History.succeeded,
    e.JobFailed: History.failed,
    e.JobReleased: History.released,
    e.JobMisfit: History.misfit,
    e.JobCrashed: History.crashed,
    e.JobCancelled: History.cancelled,
    e.JobStopping: History.stopping,
    e.JobExpired: History.expired,
    e.BulkStaged: lambda history, event, _: history.stages.staged(event),
    e.BulkCommitted: lambda history, event, _: history.stages.committed(event),
    e.BulkFreed: History.bulk_freed,
    e.BulkCarried: lambda history, event, _: history.stages.carried(event),
    e.SessionOpened: History.session_opened,
    e.SessionEnded: History.session_ended,
    e.SessionCarried: History.session_carried,
    e.JobCarried: History.job_carried,
    e.BaseMoved: History.base_moved,
    e.TaskSet: lambda history, event, wall_ms: history.settings.task_set(event, wall_ms),
    e.ItemsLapsed: lambda history, event, wall_ms: history.settings.lapsed(event, wall_ms),
}
