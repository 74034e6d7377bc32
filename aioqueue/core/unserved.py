"""Why a ready job is given to nobody: no worker that is connected would ever get it.

In words for people, of the first thing that is missing: a worker of its queue, one that knows its task, one that has
its labels. A job that only waits for its turn, or for a free slot, has no such reason. Asked by whoever shows one job.
"""

from __future__ import annotations

from aioqueue.core.nouns import Job
from aioqueue.core.state import State
from aioqueue.model.states import JobState


def why_unserved(state: State, job: Job) -> str:
    """A sentence, or nothing where somebody is there who takes the job, or it does not wait for anybody."""
    if job.state is not JobState.READY:
        return ""
    spec = job.spec
    offers = [offer for offer in state.pools if offer.serves(spec.key)]
    if not offers:
        return f"no worker of queue {spec.queue} is connected"
    offers = [offer for offer in offers if offer.tasks is None or spec.task in offer.tasks.classes]
    if not offers:
        return f"no connected worker of queue {spec.queue} knows task {spec.task}"
    if not any(offer.labels.issuperset(spec.labels) for offer in offers):
        return f"no connected worker that knows task {spec.task} has the labels {', '.join(spec.labels)}"
    return ""
