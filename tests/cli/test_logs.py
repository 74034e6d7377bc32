"""What `serve` and `worker` log."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from aioqueue.cli.logs import set_up
from aioqueue.errors import BadOption
from tests.support.commands import COMMAND, environment


def test_a_level_that_there_is_not_is_refused() -> None:
    with pytest.raises(BadOption, match="it must be one of debug, info"):
        set_up("loud")


def test_a_line_of_a_worker_process_says_which_part_of_aioqueue_it_is_from(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("from aioqueue import Queue\nqueue = Queue('tcp://127.0.0.1:1')\n")
    command = [*COMMAND, "worker", "shop:queue"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        try:
            waits = next(line for line in worker.stderr if line.endswith("trying again\n"))
        finally:
            worker.terminate()
            worker.stderr.read()
    assert " WARNING aioqueue.worker.child[" in waits
