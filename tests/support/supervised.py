"""A program that is a supervisor: `python supervised.py OPTIONS PROCESSES`, with `WorkerOptions` as JSON.

An `AioqueueError` is printed as its code and sentence, and ends it with 1, as the command line does.
"""

from __future__ import annotations

import asyncio
import logging
import sys

import msgspec

from aioqueue import AioqueueError
from aioqueue.ground import Ground
from aioqueue.worker.channel import WorkerOptions
from aioqueue.worker.supervisor import Supervisor

if __name__ == "__main__":
    logging.basicConfig(level="INFO", format="supervisor: %(message)s")
    try:
        options = msgspec.json.decode(sys.argv[1], type=WorkerOptions)
        sys.exit(asyncio.run(Supervisor(options, int(sys.argv[2]), ground=Ground()).run()))
    except AioqueueError as error:
        print(f"{error.code}: {error}", flush=True)
        sys.exit(1)
