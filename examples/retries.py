"""Attempts that fail: again with growing waits, at once dead where it is no use, and brought back by hand."""

import asyncio

from aioqueue import Context, JobFailed, Queue, Retry

queue = Queue("memory:")
stock = 0


class WrongAddress(Exception):
    """No attempt will ever help."""


@queue.task(retry=Retry(attempts=4, base="50ms", factor=2, never=(WrongAddress,)))
async def deliver(context: Context, address: str) -> str:
    if "@" not in address:
        raise WrongAddress(address)
    if context.attempt < 3:
        raise ConnectionError(f"no answer at attempt {context.attempt}")
    return f"delivered to {address} at attempt {context.attempt}"


@queue.task(retry=1)
async def take_one() -> int:
    if stock < 1:
        raise LookupError("out of stock")
    return stock - 1


async def main() -> None:
    global stock
    async with queue:
        print(await queue.run(deliver, "ada@example.com"))

        try:
            await queue.run(deliver, "nowhere")
        except JobFailed as error:
            print(f"{error.type.rpartition('.')[2]} is not tried again: {error.text}")

        job = await queue.submit(take_one)
        try:
            await job
        except JobFailed as error:
            print(f"{(await job.info()).state} after one attempt: {error.text}")

        stock = 5
        await job.retry()
        print(f"brought back by hand, {await job} left")


if __name__ == "__main__":
    asyncio.run(main())
