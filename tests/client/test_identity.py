from __future__ import annotations

import os
import subprocess
import sys

import pytest

from aioqueue.client.identity import THIS_PROCESS, ProcessIdentity
from aioqueue.ground import Ground
from aioqueue.limits import ABOUT_BYTES_MAX
from aioqueue.model.bodies import unpack_headers
from aioqueue.model.version import VERSION

FORKS = """
import os
from aioqueue.client.identity import THIS_PROCESS

print(THIS_PROCESS.id.hex(), flush=True)
if os.fork() == 0:
    print(THIS_PROCESS.id.hex(), flush=True)
    os._exit(0)
os.wait()
print(THIS_PROCESS.id.hex(), flush=True)
"""


def test_a_process_tells_the_version_that_runs_there() -> None:
    assert unpack_headers(THIS_PROCESS.about) == {"version": VERSION}
    assert len(THIS_PROCESS.about) <= ABOUT_BYTES_MAX


def test_an_identity_is_made_of_eight_bytes_of_chance_once() -> None:
    asked: list[int] = []

    def chance(size: int) -> bytes:
        asked.append(size)
        return bytes([len(asked)]) * size

    identity = ProcessIdentity(Ground(random=chance))
    assert (identity.id, identity.id, asked) == (b"\x01" * 8, b"\x01" * 8, [8])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_a_forked_process_is_not_taken_for_the_one_it_was_forked_from() -> None:
    command = [sys.executable, "-c", FORKS]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=90).stdout
    before, child, after = output.split()
    assert before == after
    assert len(bytes.fromhex(child)) == 8
    assert child != before
