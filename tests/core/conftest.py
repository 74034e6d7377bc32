"""What tests of core share."""

from __future__ import annotations

import pytest

from tests.support.scene import Scene


@pytest.fixture
def scene() -> Scene:
    """One partition, empty, with a clock that moves when it is told to."""
    return Scene()
