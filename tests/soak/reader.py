"""A client that stops reading: `python -m tests.soak.reader URL`.

It submits more result bytes than sockets buffer, stops itself while they are on their way, and checks them when
somebody wakes it by SIGCONT; `round N` on standard output says that all were right.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from typing import Final

from tests.soak.app import echo, queue

RESULTS: Final = 80
BYTES: Final = 100_000


async def main(url: str) -> None:
    queue.url = url
    async with queue:
        for number in itertools.count(1):
            sent = [bytes([number % 251, place]) * (BYTES // 2) for place in range(RESULTS)]
            jobs = [await queue.submit(echo.options(keep="2m"), data) for data in sent]
            waits = [asyncio.ensure_future(job.result()) for job in jobs]
            await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGSTOP)
            assert await asyncio.gather(*waits) == sent
            print(f"round {number}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
