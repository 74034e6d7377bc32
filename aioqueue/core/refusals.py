"""Who could not call which task, and who has refused which job: what is remembered of misfits, in this process only.

A session that gave a job back, for the job does not fit the task as its app has it, gets no more of the task while
others take them (`shut`): a changed signature fails for all of its jobs. But in a deploy there are jobs for either
release, and each may be given to the other one. So where all who know a task are shut, they are opened again; and a
job has nobody left only when each of them has refused this very job (`by_job`).
"""

from __future__ import annotations

from typing import Final

# A task, by its namespace and name.
TaskKey = tuple[str, str]
# Jobs whose refusals are remembered though they may be over; looked through when there are so many more.
_JOBS_CHECKED_EVERY: Final = 1_000


class Refusals:
    """`stale` says that somebody came or left since it was looked whether anybody is left who takes what is shut."""

    __slots__ = ("_check_at", "by_job", "shut", "stale")

    def __init__(self) -> None:
        self.shut: dict[TaskKey, set[int]] = {}
        self.by_job: dict[bytes, set[int]] = {}
        self.stale = False
        self._check_at = _JOBS_CHECKED_EVERY

    def refused(self, job: bytes, session: int) -> None:
        """The session gave this job back."""
        self.by_job.setdefault(job, set()).add(session)

    def crowded(self) -> bool:
        """Whether to look which of the jobs are over."""
        return len(self.by_job) >= self._check_at

    def keep(self, living: dict[bytes, object]) -> None:
        """Forget the jobs that are over."""
        self.by_job = {job: sessions for job, sessions in self.by_job.items() if job in living}
        self._check_at = len(self.by_job) * 2 + _JOBS_CHECKED_EVERY

    def close(self, key: TaskKey, session: int) -> None:
        """The session gets nothing of this task any more."""
        self.shut.setdefault(key, set()).add(session)
        self.stale = True

    def open(self, key: TaskKey, session: int) -> None:
        """It may get some again, or is gone."""
        sessions = self.shut.get(key)
        if sessions is not None:
            sessions.discard(session)
            if not sessions:
                del self.shut[key]
