"""The life of a job as a mermaid diagram, drawn from the table; `python -m tests.support.state_diagram` prints it."""

from __future__ import annotations

from aioqueue.core import events as e
from aioqueue.core.machine import NEXT_STATE
from aioqueue.model.states import TERMINAL

# What an arrow is called, for people who have not read the events.
WORDS: dict[type[e.JobEvent | e.BulkFreed], str] = {
    e.JobSubmitted: "submit",
    e.JobDue: "due",
    e.JobLeased: "lease",
    e.JobSucceeded: "success",
    e.JobFailed: "failure",
    e.JobReleased: "given back",
    e.JobMisfit: "misfit",
    e.JobCrashed: "crash",
    e.JobCancelled: "cancel",
    e.JobStopping: "cancel, deadline",
    e.JobExpired: "time is over",
    e.BulkFreed: "bulk committed, or dropped",
}


def mermaid() -> str:
    """The diagram, between its fences."""
    lines = ["```mermaid", "stateDiagram-v2"]
    ends = set()
    for (before, kind), states in NEXT_STATE.items():
        for after in sorted(states):
            lines.append(f"    {'[*]' if before is None else before.label} --> {after.label}: {WORDS[kind]}")
            if after in TERMINAL:
                ends.add(after)
    lines += [f"    {end.label} --> [*]" for end in sorted(ends)]
    return "\n".join([*lines, "```"]) + "\n"


if __name__ == "__main__":
    print(mermaid(), end="")
