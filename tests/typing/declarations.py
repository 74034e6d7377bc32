"""The public face as a type checker sees it; read by `test_declarations.py`, never run.

`# T: type` is the revealed type of the line, `# E` an error that the line must have; `# E: this | that` one in which
pyright says this and mypy that. Any other error fails.
"""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Any, reveal_type

from aioqueue.client.context import Context
from aioqueue.client.declare import Declares
from aioqueue.client.options import Retry
from aioqueue.client.queue import Queue
from aioqueue.client.task import Task

queue = Queue("memory:")


@queue.task
async def send(to: str, copies: int = 1) -> float:
    return 1.0


@queue.task(name="shop.fold", retry=Retry(attempts=3), priority="high", delay=timedelta(seconds=1))
def fold(sheet: bytes) -> list[str]:
    return []


@queue.task
async def stamp(context: Context, letter: str, *, colour: str = "red") -> bool:
    reveal_type(context.job)  # T: str
    reveal_type(context.headers)  # T: dict[str, str]
    return True


@queue.task(queue="slow")
def weigh(context: Context, letter: str) -> int:
    return context.attempt


@queue.task
async def burn(context: Context) -> None: ...


@queue.task
async def glue(left: str, right: str) -> str:
    return left + right


typed_by_hand = queue.task(functools.partial(print, "x"), name="printed")


async def submits() -> None:
    reveal_type(await queue.submit(send, "ada", copies=2))  # T: Job[float]
    reveal_type(await queue.submit(fold, b"a4"))  # T: Job[list[str]]
    reveal_type(await queue.submit(stamp, "x", colour="blue"))  # T: Job[bool]
    reveal_type(await queue.submit(weigh, "x"))  # T: Job[int]
    reveal_type(await queue.submit(burn))  # T: Job[None]
    reveal_type(await queue.submit(send.options(delay="10m", id="a"), "ada"))  # T: Job[float]
    reveal_type(await queue.submit("shop.fold", 1, 2, x=3))  # T: Job[Any]
    reveal_type(await queue.submit(queue.named("shop.count", int), 1))  # T: Job[int]
    reveal_type(await queue.submit(queue.named("shop.names", list[str]).options(delay=5)))  # T: Job[list[str]]
    reveal_type(await queue.run(queue.named("shop.names", list[str], unregistered=True)))  # T: list[str]
    reveal_type(await queue.submit(queue.named("shop.fold"), 1))  # T: Job[Any]
    reveal_type(await queue.submit_many([queue.named("shop.count", int).call(1)]))  # T: list[Job[int]]
    reveal_type(await (await queue.submit(send, "ada")))  # T: float
    reveal_type(await queue.run(send, "ada"))  # T: float
    reveal_type(await queue.submit_many([send.call("a"), send.call("b", copies=3)]))  # T: list[Job[float]]


async def results_where_anything_is_taken(anything: Task[..., object]) -> None:
    # The place that takes an object must not make the task one of objects.
    print(await queue.run(stamp, "x"), await (await queue.submit(send, "ada")))
    await queue.submit(anything)


async def submits_that_do_not_fit() -> None:
    await queue.submit(send)  # E: "to" | Task[[str, int], float]
    await queue.submit(send, 5)  # E: "to" | "int"
    await queue.submit(send, "ada", copies="two")  # E: "copies" | "str"
    await queue.submit(send, "ada", color="red")  # E: "color" | "color"
    await queue.submit(stamp, "x", "red")  # E
    await queue.submit(print, "x")  # E
    await queue.submit(send.options(delay=1), 5)  # E
    send.call(5)  # E
    stamp.call()  # E


async def calls_here() -> None:
    reveal_type(await send("ada"))  # T: float
    reveal_type(await fold(b"a4"))  # T: list[str]
    reveal_type(await stamp("x"))  # T: bool
    reveal_type(await weigh("x"))  # T: int
    await send(5)  # E
    await stamp(Context(b"", task="stamp", queue="default"), "x")  # E


async def maps() -> None:
    async for sent in queue.map(send, ["ada"]):  # further parameters have defaults
        reveal_type(sent)  # T: float
    async for good in queue.map(stamp, ["x"], window=2):  # a Context, and a keyword with a default
        reveal_type(good)  # T: bool
    async for sheets in queue.map(fold, [b"a4"]):
        reveal_type(sheets)  # T: list[str]
    queue.map(send, [5])  # E
    queue.map(burn, ["x"])  # E
    queue.map(glue, ["x"])  # E
    queue.map(len, ["x"])  # E


async def looks() -> None:
    info = await (await queue.get("a")).info()
    if info.state == "dead":
        reveal_type(info.state)  # T: Literal['dead']
    async for found in queue.find(state=["ready", "running"]):
        print(found.state)
    queue.find(state="waiting")  # E


def what_other_queues_have() -> None:
    send.delay("ada")  # E: "delay" | "delay"
    send.apply_async(("ada",))  # E: "apply_async" | "apply_async"


def options_that_are_not_known() -> None:
    send.options(delya=5)  # E: "delya" | "delya"
    send.options(name="other")  # E
    send.options(priority="urgent")  # E
    send.options(delay=None, at=1_903_867_200_000, keep="7d", headers={"a": "b"}, timeout=1.5, retry=2)


def declarations_that_are_not_known() -> None:
    Declares(priority="high", retry=3)
    Declares(prio="high")  # E
    queue.task(retries=3)  # E: "retries" | "int"
    queue.task(id="a")  # E: "id" | "str"
    queue.task(retry=None)  # E: "retry" | "None"
    queue.task(priority="urgent")  # E: "priority" | "str"


def untyped_is_taken_as_it_comes(fn: Any) -> None:
    queue.task(fn)
