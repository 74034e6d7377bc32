"""What sessions said that they take, for the judge of a journal (I22): a journal alone does not tell.

Whoever plays a world tells what was decided, in its order, and gives the judge what was so when a batch was made. A
judge that is told nothing knows only that equals are equals: jobs of one fit stand in one line for everybody.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from aioqueue.core import commands as c
from aioqueue.core import events as e
from aioqueue.model.states import RunEnd

# A job's task and labels, and its namespace and queue.
Fit = tuple[str, tuple[str, ...]]
Line = tuple[str, str]


class Said(NamedTuple):
    """What the worker of one session said on this connection."""

    namespace: str
    slots: tuple[int, int] = (0, 0)
    queues: tuple[str, ...] = ()
    all_queues: bool = False
    tasks: dict[str, int] | None = None
    labels: frozenset[str] = frozenset()
    shut: frozenset[str] = frozenset()

    def takes(self, line: Line, fit: Fit) -> bool:
        namespace, queue = line
        task, labels = fit
        served = queue in self.queues or (self.all_queues and not self.queues)
        known = (self.tasks is None or task in self.tasks) and task not in self.shut
        return namespace == self.namespace and served and known and self.labels.issuperset(labels)

    def knows(self, task: str) -> bool:
        """Whether it has slots, and could have runs of this task in them."""
        has_slots = self.slots[0] or (self.slots[1] and 1 in (self.tasks or {}).values())
        return bool(has_slots) and (self.tasks is None or task in self.tasks)

    def might_take(self, line: Line, fit: Fit) -> bool:
        """Whether it has slots and takes such jobs, were it not for others that it refused."""
        return self.knows(fit[0]) and self._replace(shut=frozenset()).takes(line, fit)

    def class_of(self, task: str) -> int:
        return 0 if self.tasks is None else self.tasks.get(task, 0)


_NOBODY: Final = Said("")


class Offers:
    """What all sessions said."""

    __slots__ = ("_misfits", "_refused", "_said")

    def __init__(self, said: dict[int, Said] | None = None) -> None:
        self._said: dict[int, Said] = {} if said is None else said
        # Who said of a run that it does not fit.
        self._misfits: dict[tuple[bytes, int], int] = {}
        # Who has refused each job.
        self._refused: dict[bytes, set[int]] = {}

    def copy(self) -> Offers:
        """What is so now."""
        return Offers(dict(self._said))

    def told(self, command: c.Command, reply: Any) -> None:
        """A command was decided, and answered so; what was refused changed nothing."""
        if isinstance(reply, Exception):
            return
        number = getattr(command, "session", 0)
        said = self._said.get(number, _NOBODY)
        match command:
            case c.OpenSession(attach=False):
                self._said[reply[0]] = Said(command.namespace)
            case c.DeclareOffer():
                tasks = None if command.tasks is None else dict(command.tasks)
                self._said[number] = said._replace(
                    tasks=tasks, labels=frozenset(command.labels), all_queues=command.all_queues
                )
            case c.OfferCapacity():
                self._said[number] = said._replace(slots=(command.slots, command.process_slots), queues=command.queues)
            case c.LoseLink():
                self._said[number] = said._replace(slots=(0, 0))
            case c.EndSession():
                self._said.pop(number, None)
            case c.SettleRuns(items=ends) | c.ResumeSession(settles=ends):
                self._misfits |= {(end.id, end.fence): number for end in ends if end.end is RunEnd.MISFIT}

    def decided(self, events: Iterable[e.Event], task_of: Callable[[bytes], str], living: Collection[int]) -> None:
        """A batch was made, with these events; these sessions are there now."""
        for event in events:
            if isinstance(event, e.JobMisfit):
                session = self._misfits.pop((event.id, event.fence))
                said = self._said.get(session, _NOBODY)
                self._said[session] = said._replace(shut=said.shut | {task_of(event.id)})
        for number in [number for number in self._said if number not in living]:
            del self._said[number]
        self._reopen()

    def _reopen(self) -> None:
        """What is shut for all who know it is open for them again."""
        shut = {(said.namespace, task) for said in self._said.values() for task in said.shut}
        for namespace, task in shut:
            knowing = [said for said in self._said.values() if said.namespace == namespace and said.knows(task)]
            if all(task in said.shut for said in knowing):
                self._said = {
                    number: said._replace(shut=said.shut - {task}) if said.namespace == namespace else said
                    for number, said in self._said.items()
                }

    def misfits(
        self,
        command: c.Command,
        reply: Any,
        runs: Mapping[tuple[bytes, int], e.Event],
        place_of: Callable[[bytes], tuple[Line, Fit]],
    ) -> list[str]:
        """What a command broke that tells of runs which do not fit: such a job goes back while anybody else is left
        who takes it and has not refused it, and no longer. `runs` are the ends of runs in its batch, by id and fence,
        and `place_of` tells where a job stands. What was refused, or is only said again, ended none of them.
        """
        broken: list[str] = []
        for session, item in _misfits_in(command, reply):
            event = runs.get((item.id, item.fence))
            if event is None or isinstance(event, e.JobReleased):
                continue
            line, fit = place_of(item.id)
            refused = self._refused.get(item.id, set()) | {session}
            if isinstance(event, e.JobMisfit):
                # Who refused it at last, so that it died, may be asked once more if somebody brings it back.
                self._refused[item.id] = refused
            left = [each for each, said in self._said.items() if each not in refused and said.might_take(line, fit)]
            if isinstance(event, e.JobMisfit) != bool(left):
                broken.append(f"I22: job {item.id.hex()} does not fit, {left} may take it, and it ends by {event}")
        return broken

    def takes(self, session: int, line: Line, fit: Fit) -> bool:
        """Whether its worker may ever have such a job."""
        return self._said.get(session, _NOBODY).takes(line, fit)

    def may_have(self, session: int, line: Line, fit: Fit, held: Iterable[str]) -> bool:
        """Whether its worker may have such a job beside runs of these tasks."""
        said = self._said.get(session, _NOBODY)
        if not said.takes(line, fit):
            return False
        mine = said.class_of(fit[0])
        return sum(said.class_of(task) == mine for task in held) < said.slots[mine]


def _misfits_in(command: c.Command, reply: Any) -> Iterator[tuple[int, c.EndRun]]:
    """The ends of this kind that the command told first, with the session that told them."""
    match command, reply:
        case c.SettleRuns(session=session, items=ends), list(outcomes):
            pass
        case c.ResumeSession(session=session, settles=ends), (_, list(outcomes)):
            pass
        case _:
            return
    for end, outcome in zip(ends, outcomes, strict=True):
        if end.end is RunEnd.MISFIT and outcome is c.SettleOutcome.OK:
            yield session, end
