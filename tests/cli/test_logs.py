"""What `serve` and `worker` log."""

from __future__ import annotations

import pytest

from aioqueue.cli.logs import set_up
from aioqueue.errors import BadOption


def test_a_level_that_there_is_not_is_refused() -> None:
    with pytest.raises(BadOption, match="it must be one of debug, info"):
        set_up("loud")
