import asyncio

from aioqueue import Queue

queue = Queue("sqlite:hello.db")  # or tcp://HOST:PORT: the program stays the same


@queue.task(retry=3)
async def greet(name: str) -> str:
    return f"Hello, {name}!"


async def main() -> None:
    async with queue:
        job = await queue.submit(greet, "Ada")  # returns when the job is on disk
        print(job.id, await job)


if __name__ == "__main__":
    asyncio.run(main())
