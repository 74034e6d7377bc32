"""A task as the registry has it."""

from __future__ import annotations

from msgspec import Struct

from aioqueue.limits import TASK_UNUSED_MS


class RegisteredTask(Struct, gc=False):
    """What a worker declared of a task, under its namespace and name.

    `body` is its description, which core never reads, and `digest` what that is known by. `started_ms` is when the
    process that declared it had started, and `used_ms` when it was known to be in use: times of the broker's clock, in
    milliseconds UTC. `home` is the position of the batch that tells of it.

    `latest_ms` and `seen_ms` are the same two of this process of the broker: who declares again what is known makes no
    event. They are journaled with the task when it is carried.
    """

    namespace: str
    name: str
    digest: bytes
    body: bytes
    started_ms: int
    used_ms: int
    home: int
    latest_ms: int
    seen_ms: int

    @property
    def key(self) -> tuple[str, str]:
        """What names it."""
        return self.namespace, self.name

    @property
    def lapse_ms(self) -> int:
        """When its time is over, as far as the journal knows."""
        return self.used_ms + TASK_UNUSED_MS
