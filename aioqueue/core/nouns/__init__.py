"""What a partition is about: jobs, sessions, bulks, tasks. Records that `apply` changes, and everybody else reads.

They know nothing of queues, of each other's order or of time; `State` holds them.
"""

from __future__ import annotations

from aioqueue.core.nouns.bulk import Bulk, Part
from aioqueue.core.nouns.job import Fit, Job, Rare, SharedSpec, admitted_bytes, copy_job, rare_of
from aioqueue.core.nouns.offer import NO_OFFER, Offer, SlotClass, TaskOffer, task_offer
from aioqueue.core.nouns.session import Link, Session, by_wait
from aioqueue.core.nouns.task import RegisteredTask

__all__ = [
    "NO_OFFER",
    "Bulk",
    "Fit",
    "Job",
    "Link",
    "Offer",
    "Part",
    "Rare",
    "RegisteredTask",
    "Session",
    "SharedSpec",
    "SlotClass",
    "TaskOffer",
    "admitted_bytes",
    "by_wait",
    "copy_job",
    "rare_of",
    "task_offer",
]
