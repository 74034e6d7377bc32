"""What every test shares: one Hypothesis profile, so that a failure is the same on every machine, and an order."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# Two shared cores make any single example slow at times; a deadline would test the machine, not the code.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
# In CI the same examples every time: a red run must mean a change of the code.
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

TIMEOUT_SECONDS = 300


@pytest.fixture
def open_umask() -> Iterator[None]:
    """A umask that takes nothing away, so that the mode of a new file is what the code says."""
    umask = os.umask(0)
    yield
    os.umask(umask)


def seconds_allowed(item: pytest.Item) -> float:
    """How long a test may take; the usual time for those that may take less."""
    marker = item.get_closest_marker("timeout")
    return max(TIMEOUT_SECONDS, marker.args[0]) if marker is not None else TIMEOUT_SECONDS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What may take longest begins first, or at the end all other processes would wait for the one that has it.

    `--dist=worksteal` gives every process an equal part of the list to begin with: each part begins with its share.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [each for each in items if seconds_allowed(each) > TIMEOUT_SECONDS]
    long.sort(key=seconds_allowed, reverse=True)
    others = [each for each in items if seconds_allowed(each) <= TIMEOUT_SECONDS]
    left, items[:] = len(items), []
    for process in range(processes):
        share = long[process::processes]
        size = max(0, left // (processes - process) - len(share))
        items += [*share, *others[:size]]
        del others[:size]
        left -= len(share) + size
