from __future__ import annotations

import asyncio

from aioqueue.transport.memory import memory_pair


async def test_no_more_than_the_bound_is_under_way() -> None:
    near, far = memory_pair(buffer_bytes_max=10)
    sending = asyncio.create_task(near.send(bytes(25)))
    sizes = [len(await far.receive()) for _ in range(3)]
    await sending
    assert sizes == [10, 10, 5]


async def test_a_buffer_that_is_changed_after_sending_does_not_change_what_arrives() -> None:
    near, far = memory_pair()
    data = bytearray(b"abc")
    await near.send(data)
    data[:] = b"xyz"
    assert await far.receive() == b"abc"
