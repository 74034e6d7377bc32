"""What all errors have in common: a code, a sentence over their fields, and copies that say the same.

Only the five families derive from `AioqueueError` directly; whoever raises names one of theirs.
"""

from __future__ import annotations

from typing import Any, ClassVar


class AioqueueError(Exception):
    """The base of all errors of this package.

    A subclass states a `code` and a `sentence`, a template over the keyword arguments it is raised with.
    """

    code: ClassVar[str] = "error"
    sentence: ClassVar[str] = "aioqueue failed"

    def __init__(self, message: str | None = None, /, **fields: Any) -> None:
        self.fields = fields
        super().__init__(self.sentence.format(**fields) if message is None else message)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["fields"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), str(self), self.fields)


def _rebuild(kind: type[AioqueueError], message: str, fields: dict[str, Any]) -> AioqueueError:
    return kind(message, **fields)
