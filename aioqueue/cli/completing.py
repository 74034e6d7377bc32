"""What a shell is told that may follow: states, levels, and the queues, tasks and ids that the broker knows.

Called while somebody types: a broker that does not answer at once, and whatever else is wrong, completes nothing. What
it is is said when the command runs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any, Final

import typer

# Whoever pressed the key waits for it, and nothing shows that.
_SECONDS: Final = 1.5
_JOBS: Final = 50
# Of which jobs the id makes sense.
_STATES_OF: Final[dict[str | None, list[str]]] = {
    "cancel": ["blocked", "scheduled", "ready", "running", "stopping"],
    "retry": ["dead", "cancelled", "expired"],
}
# Where bash breaks words, it makes a word of each of these.
_BREAKS: Final = frozenset(":=")

Found = list[str | tuple[str, str]]


def states(incomplete: str) -> list[str]:
    """States that begin so."""
    from aioqueue.model.states import JobState

    return [each.label for each in JobState if each is not JobState.SUSPENDED and each.label.startswith(incomplete)]


def levels(incomplete: str) -> list[str]:
    """Levels of a log that begin so."""
    from aioqueue.cli.logs import LEVELS

    return [level for level in LEVELS if level.startswith(incomplete)]


def queues(ctx: typer.Context, incomplete: str) -> Found:
    """Queues that begin so."""

    async def ask(queue: Any) -> Found:
        async with aclosing(queue.statistics()) as views:
            view = await anext(views)
        return [each.queue for each in view.queues]

    return _asked(ctx, incomplete, ask)


def tasks(ctx: typer.Context, incomplete: str) -> Found:
    """Tasks that begin so: those that workers have registered, and those of the latest jobs."""

    async def ask(queue: Any) -> Found:
        from aioqueue.errors import Unsupported

        names: set[str] = {info.task async for info in queue.find(limit=_JOBS)}
        with suppress(Unsupported):
            async for entry in queue.session().questions.all_registered(names_only=True):
                names.add(entry.name)
        return sorted(names)

    return _asked(ctx, incomplete, ask)


def ids(ctx: typer.Context, incomplete: str) -> Found:
    """Ids of jobs that begin so, the latest; with a queue the callers' own."""
    lane = ctx.params.get("queue") or None
    state = _STATES_OF.get(ctx.info_name)

    async def ask(queue: Any) -> Found:
        start = None if lane else incomplete or None
        found = [info async for info in queue.find(state=state, queue=lane, id=start, limit=_JOBS)]
        return [
            (info.own_id if lane else info.id, f"{info.state} {info.task}") for info in found if not lane or info.own_id
        ]

    return _asked(ctx, incomplete, ask)


def join_words() -> None:
    """Put together what bash took apart at colons, such as a URL: before the words are read."""
    if os.environ.get("_AIOQUEUE_COMPLETE") != "complete_bash" or "\n" not in os.environ.get("COMP_WORDS", ""):
        return
    words: list[str] = []
    at = int(os.environ["COMP_CWORD"])
    place = 0
    glue = False
    for index, word in enumerate(os.environ["COMP_WORDS"].split("\n")):
        broken = bool(word) and _BREAKS.issuperset(word)
        if words and (glue or broken):
            words[-1] += word
        else:
            words.append(word)
        glue = broken
        if index == at:
            place = len(words) - 1
    os.environ.update(COMP_WORDS="\n".join(words), COMP_CWORD=str(place))


def _asked(ctx: typer.Context, incomplete: str, ask: Callable[[Any], Awaitable[Found]]) -> Found:
    from aioqueue.cli.running import queue_at, run_short

    async def within() -> Found:
        queue = queue_at(ctx.params.get("url") or "", ctx.params.get("namespace") or "default")
        async with asyncio.timeout(_SECONDS), queue:
            return await ask(queue)

    try:
        found = run_short(within())
    except Exception:
        return []
    return [each for each in found if (each if isinstance(each, str) else each[0]).startswith(incomplete)]
