"""The arguments of the living jobs: what core leaves to the shell.

Core knows where in the journal a job's arguments lie, and never what they are. Here they are from the batch that
submits the job until its end, and are added to those effects that say them: a run that is delivered, an end that is
kept so that the job can be submitted again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aioqueue.core.effects import ArchiveJob, DeliverJob, Effect
from aioqueue.model.states import JobState

_SUCCEEDED = JobState.SUCCEEDED


class Bodies:
    """All of them, by job."""

    def __init__(self) -> None:
        self._held: dict[bytes, bytes] = {}

    def take(self, arguments: Mapping[bytes, bytes], effects: Iterable[Effect]) -> None:
        """A batch was decided, or replayed: keep the arguments of its new jobs, and add what its effects need."""
        held = self._held
        held.update(arguments)
        for effect in effects:
            if type(effect) is DeliverJob:
                effect.body = held[effect.id]
            elif type(effect) is ArchiveJob:
                finished = effect.finished
                body = held.pop(finished.id)
                if finished.state is not _SUCCEEDED:
                    finished.args = body
