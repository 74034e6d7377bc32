"""Labels: what a worker has, such as `gpu`, and what a job needs of its worker."""

from __future__ import annotations

from typing import Any

from aioqueue.errors import BadOption
from aioqueue.limits import LABELS_MAX
from aioqueue.model.names import check_name


def check_labels(labels: Any) -> tuple[str, ...]:
    """The labels in one order, each once. Raises `BadOption`, and `BadName` for one that cannot be a name."""
    if isinstance(labels, str) or not isinstance(labels, list | tuple | set | frozenset) or len(labels) > LABELS_MAX:
        raise BadOption(option="labels", value=labels, reason=f'it must be a list of at most {LABELS_MAX}, as ["gpu"]')
    return tuple(sorted({check_name("label", label) for label in labels}))
