"""A web server that answers at once and works later: broker and worker run inside it, jobs are in `web.db`.

GET /count/TEXT answers 202 and the job's id; GET /jobs/ID tells of the job. Stop the server and start it again: jobs
that were not done go on, and the ends of the others are still known.
"""

import asyncio
import json
import sys
from contextlib import suppress
from typing import Any

from aioqueue import JobNotFound, Queue

queue = Queue("sqlite:web.db")


@queue.task
async def count_letters(text: str) -> int:
    await asyncio.sleep(0.1)
    return sum(letter.isalpha() for letter in text)


async def answer(path: str) -> tuple[str, Any]:
    """The status and the document for a path."""
    match path.strip("/").split("/"):
        case ["count", text]:
            job = await queue.submit(count_letters, text)
            return "202 Accepted", {"id": job.id}
        case ["jobs", job_id]:
            try:
                found = await queue.get(job_id)
                info = await found.info()
            except JobNotFound as error:
                return "404 Not Found", {"error": str(error)}
            known = {"result": await found} if info.state == "succeeded" else {}
            return "200 OK", {"id": found.id, "state": info.state, **known}
    return "404 Not Found", {"error": f"there is nothing at {path}"}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One request; a real app has a web framework for this."""
    request = await reader.readline()
    status, document = await answer(request.split()[1].decode())
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    writer.write(f"{head}Connection: close\r\n\r\n".encode() + body)
    await writer.drain()
    writer.close()


async def main(port: int) -> None:
    async with queue:
        server = await asyncio.start_server(serve, "127.0.0.1", port)
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # Ctrl-C stops server, worker and broker in good order
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8000))
