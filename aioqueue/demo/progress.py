"""How far the demo is: what the broker says of its jobs, put together for whoever draws it. No drawing, no waiting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from aioqueue.client.info import JobInfo
from aioqueue.client.job import Job
from aioqueue.demo.jobs import Made


@dataclass(frozen=True)
class Wanted:
    """One job of the demo: of which photograph, what, and the job itself."""

    photo: Path
    what: str
    job: Job[Made]

    @property
    def label(self) -> str:
        return f"{self.what} of {self.photo.name}"


@dataclass
class Progress:
    """All jobs of the demo, those that are done, and the rest as the broker last told of them. Times are ms."""

    url: str
    processes: int
    wanted: dict[str, Wanted]
    done: dict[str, Made] = field(default_factory=dict)
    infos: dict[str, JobInfo] = field(default_factory=dict)
    elapsed_ms: int = 0

    def told(self, infos: Iterable[JobInfo]) -> None:
        """What the broker says now; jobs of others are passed over."""
        self.infos.update((info.id, info) for info in infos if info.id in self.wanted)

    def states(self) -> Counter[str]:
        """How many jobs are in each state. A result that came after the broker's word counts as what it is."""
        counts: Counter[str] = Counter(info.state for id, info in self.infos.items() if id not in self.done)
        counts.pop("succeeded", None)
        counts["succeeded"] = len(self.done)
        counts["ready"] += len(self.wanted) - counts.total()
        return counts

    def in_state(self, state: str) -> list[JobInfo]:
        """What the broker said of the jobs that are in a state, and not known to be done since."""
        return [info for id, info in self.infos.items() if info.state == state and id not in self.done]

    def retried(self) -> list[JobInfo]:
        """The jobs that failed at least once."""
        return [info for info in self.infos.values() if info.failures]

    @property
    def per_second(self) -> float:
        return len(self.done) * 1_000 / self.elapsed_ms if self.elapsed_ms else 0.0
