"""The promises about whose turn it is (I10, I11), about who may have it (I22), and who runs beside whom (I8)."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from aioqueue.core.invariants.bounds import Bounds
from aioqueue.core.invariants.life import Life
from aioqueue.core.invariants.offers import Fit, Line, Offers
from aioqueue.limits import CRASHES_ALONE
from aioqueue.model.states import JobState

# A heap of (-priority, place, id).
_Line = list[tuple[int, int, bytes]]


class Turns:
    """The ready jobs of a journal, in their lines; `say` is told of what is broken."""

    def __init__(self, say: Callable[[str], None], lives: dict[bytes, Life], bounds: Bounds) -> None:
        self._say = say
        self._lives = lives
        self._bounds = bounds
        self._places = 0
        # What sessions took when the batch was made, where anybody tells.
        self.offers: Offers | None = None
        # Ready jobs by queue and fit: heaps of (-priority, place, id), of which some moved on.
        # Which of them a session may have depends on their crashes, so those with none, some and the last allowed
        # stand apart.
        self._lines: dict[Line, dict[Fit, tuple[_Line, _Line, _Line]]] = {}

    def new_place(self, job_id: bytes, life: Life) -> None:
        """The job stands behind all of its priority that are ready now."""
        self._places += 1
        life.place = self._places
        self.stand(job_id, life)

    def stand(self, job_id: bytes, life: Life) -> None:
        """The job is ready, at the place it has."""
        lines = self._lines.setdefault(life.line, {}).setdefault(life.fit, ([], [], []))
        heappush(lines[_kind(life)], (-life.priority, life.place, job_id))

    def judge_cohort(self, name: str, life: Life, held: set[bytes], family: list[bytes]) -> None:
        """An innocent job never dies of its neighbour's crash: nobody is beside a job that the next crash kills, save
        those that may wait for it or it for them.
        """
        neighbours = {other: self._lives[other].crashes for other in held}
        is_child = bool(family) and family[0] in held
        if life.crashes >= CRASHES_ALONE and not all(
            is_child and (other in family or self._has_ready_child(other)) for other in held
        ):
            self._say(f"I8: job {name} has {life.crashes} crashes, and was leased beside {len(held)} others")
        elif not is_child and any(crashes >= CRASHES_ALONE for crashes in neighbours.values()):
            self._say(f"I8: job {name} was leased beside one that must run alone")
        elif life.crashes and any(
            crashes and not (is_child and other in family) for other, crashes in neighbours.items()
        ):
            self._say(f"I8: job {name} was leased beside another suspect")

    def judge_fit(self, name: str, life: Life, session: int, held: set[bytes]) -> None:
        """The session takes such jobs, and has a slot for it."""
        if not self._may_have(life, session, held):
            self._say(f"I22: job {name} of {life.fit} was leased to session {session}, which has no slot for it")

    def _may_have(self, life: Life, session: int, held: set[bytes]) -> bool:
        tasks = (self._lives[other].fit[0] for other in held)
        return self.offers is None or self.offers.may_have(session, life.line, life.fit, tasks)

    def judge_turn(self, job_id: bytes, life: Life, session: int, held: set[bytes], family: list[bytes]) -> None:
        """No ready job that the session might have stands before this one; where nobody tells what it takes, none that
        is like it.

        Beside suspects, children of what the session runs may come at any time; and a suspect child stands where its
        parent does, who waits for it.
        """
        neighbours = [self._lives[other].crashes for other in held]
        if family and family[0] in held and (any(neighbours) or self._suspects_are_ready()):
            return
        allowed = (True, not any(neighbours), not neighbours)
        mine = (-life.priority, life.place, job_id)
        first = mine
        if life.crashes:
            above = [(ancestor, self._lives[ancestor]) for ancestor in family if ancestor in self._lives]
            places = [(-each.priority, each.place, key) for key, each in above if each.state is JobState.READY]
            first = min([mine, *places])
        for fit, lines in self._lines[life.line].items():
            for kind, (line, may_have) in enumerate(zip(lines, allowed, strict=True)):
                while line and (line[0] == mine or not self._is_ready(line[0], kind)):
                    heappop(line)
                if (
                    not may_have
                    or not line
                    or line[0] >= first
                    or (kind and self._waits_for_child(line[0][2], session))
                ):
                    continue
                other = self._lives[line[0][2]]
                if fit == life.fit or (self.offers is not None and self._may_have(other, session, held)):
                    promise = "I11" if line[0][0] < mine[0] else "I10"
                    self._say(f"{promise}: job {job_id.hex()} was leased, and it was the turn of {line[0][2].hex()}")

    def _waits_for_child(self, job_id: bytes, session: int) -> bool:
        return any(
            child.crashes
            and child.state is JobState.READY
            and (self.offers is None or self.offers.takes(session, child.line, child.fit))
            for child in self._bounds.children(job_id)
        )

    def _has_ready_child(self, job_id: bytes) -> bool:
        return any(child.state is JobState.READY for child in self._bounds.children(job_id))

    def _suspects_are_ready(self) -> bool:
        for _, *lines in (lines for fits in self._lines.values() for lines in fits.values()):
            for kind, line in enumerate(lines, 1):
                while line and not self._is_ready(line[0], kind):
                    heappop(line)
                if line:
                    return True
        return False

    def _is_ready(self, entry: tuple[int, int, bytes], kind: int) -> bool:
        life = self._lives[entry[2]]
        return life.state is JobState.READY and life.place == entry[1] and _kind(life) == kind


def _kind(life: Life) -> int:
    return min(life.crashes, CRASHES_ALONE)
