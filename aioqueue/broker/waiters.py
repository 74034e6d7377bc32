"""Who waits for the end of which job. Waiting is a matter of a connection: a client that returns asks again."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Waiter(Protocol):
    """One who waits; `awaited` are the jobs it waits for."""

    awaited: set[bytes]


W = TypeVar("W", bound=Waiter)


class Waiters(Generic[W]):
    """Nearly every job has one waiter or none, so a list is only made for the second."""

    def __init__(self) -> None:
        self._of: dict[bytes, W | list[W]] = {}

    def add(self, job_id: bytes, waiter: W) -> None:
        if job_id in waiter.awaited:
            return
        waiter.awaited.add(job_id)
        present = self._of.get(job_id)
        if present is None:
            self._of[job_id] = waiter
        elif isinstance(present, list):
            present.append(waiter)
        else:
            self._of[job_id] = [present, waiter]

    def pop(self, job_id: bytes) -> list[W]:
        """All who waited for the job; they do not any more."""
        present = self._of.pop(job_id, None)
        if present is None:
            return []
        waiters = present if isinstance(present, list) else [present]
        for waiter in waiters:
            waiter.awaited.discard(job_id)
        return waiters

    def forget(self, waiter: W) -> None:
        """The waiter is gone."""
        for job_id in waiter.awaited:
            present = self._of.get(job_id)
            if isinstance(present, list):
                present.remove(waiter)
                if not present:
                    del self._of[job_id]
            elif present is waiter:
                del self._of[job_id]
        waiter.awaited.clear()

    def __len__(self) -> int:
        return len(self._of)
