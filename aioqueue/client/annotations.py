"""The types that a function's annotations name, as decoders of the bytes that should become them.

Annotations may be text, and may name what is defined further down in their module, so they are looked up when the
task is declared if that works, and once more when the first job arrives.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from aioqueue.client.adapting import adapted
from aioqueue.client.callables import innermost
from aioqueue.client.given import GIVEN_NAME, Given
from aioqueue.errors import BadAnnotation
from aioqueue.model.convert import from_plain

# What says nothing about the value.
_ANYTHING: Final = (inspect.Parameter.empty, Any, object, typing.NoReturn, typing.Never)


class NotYetDefined(BadAnnotation):
    """An annotation names what is not there, or not yet. Its code is that of `BadAnnotation`."""


def type_named(fn: Callable[..., Any], annotation: Any, *, task: str, what: str) -> Any:
    """The type that an annotation of `fn` means, text or not. Raises `NotYetDefined`, which names `what` of `task`."""
    inner = innermost(fn)
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    cells = zip(inner.__code__.co_freevars, inner.__closure__ or (), strict=True) if hasattr(inner, "__code__") else ()
    local_names = {name: cell.cell_contents for name, cell in cells if _is_filled(cell)}
    try:
        return typing.get_type_hints(holder, getattr(inner, "__globals__", {}), local_names, include_extras=True)["it"]
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise NotYetDefined(what=what, task=task, annotation=repr(annotation), reason=_missing(error)) from None


def is_context(fn: Callable[..., Any], annotation: Any) -> bool:
    """Whether an annotation asks for what the worker gives: the run's `Context`."""
    if annotation is inspect.Parameter.empty:
        return False
    try:
        kind = type_named(fn, annotation, task="", what="")
    except NotYetDefined:
        # Imported for type checkers only: its name is all there is.
        return isinstance(annotation, str) and annotation.rpartition(".")[2] == GIVEN_NAME
    return isinstance(kind, type) and issubclass(kind, Given)


def decodable(kind: Any, default: Any = inspect.Parameter.empty, *, task: str = "", what: str = "") -> Any:
    """The type as a decoder takes it: no annotation means anything, a default of None allows None.

    Raises `BadAnnotation` for types that no bytes can be told apart as, or that nobody can make of plain data, and
    `NotYetDefined` when a field of a dataclass names what is not there yet.
    """
    if any(kind is anything for anything in _ANYTHING):
        return Any
    with _told(kind, task, what):
        kind = adapted(kind)
    return typing.Optional[kind] if default is None else kind  # noqa: UP045 (the type is a value here)


def decoder_of(kind: Any, *, task: str, what: str) -> msgspec.msgpack.Decoder[Any]:
    """A decoder that makes values of `kind`, which is a `decodable` one. Raises as that does."""
    with _told(kind, task, what):
        return msgspec.msgpack.Decoder(kind, dec_hook=from_plain)


@contextmanager
def _told(kind: Any, task: str, what: str) -> Iterator[None]:
    try:
        yield
    except NameError as error:
        raise NotYetDefined(what=what, task=task, annotation=_text(kind), reason=_missing(error)) from None
    except (TypeError, ValueError, RecursionError) as error:
        reason = str(error).partition(" - type ")[0]
        raise BadAnnotation(
            what=what, task=task, annotation=_text(kind), reason=f"{reason}; Any takes the value as it comes"
        ) from None


def _text(kind: Any) -> str:
    return inspect.formatannotation(kind)


def _missing(error: Exception) -> str:
    return f"{error}; define or import it at the top level of its module"


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 (an empty cell raises)
    except ValueError:
        return False
    return True
