"""Refusals: an error as the peer is told of it. Pure."""

from __future__ import annotations

from aioqueue.errors import AioqueueError, Refused
from aioqueue.protocol import messages as m


def refusal(request: int, error: Exception) -> m.Refusal:
    """An error, as the peer is told. What is not ours is a defect, told as such without its insides."""
    if isinstance(error, AioqueueError):
        return m.Refusal(request, error.code, str(error), _plain(error.fields))
    return m.Refusal(request, Refused.code, f"the broker could not do this: {type(error).__name__}")


def _plain(fields: dict[str, object]) -> dict[str, int | float | str | bool | None]:
    return {name: value if isinstance(value, int | float | str) else repr(value) for name, value in fields.items()}
