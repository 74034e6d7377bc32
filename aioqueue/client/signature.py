"""How the arguments of a call become bytes, and bytes the arguments of a run; the same for results.

Compiled once a task. A submit checks only that the arguments fit the parameters, as a call would, and packs them as
they were given; a run converts each of them to its annotation. So the two sides may run different versions of a task,
and what does not fit is said by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from inspect import Parameter
from typing import Any, Final, NamedTuple

import msgspec

from aioqueue.client.annotations import NotYetDefined, decodable, decoder_of, is_context, type_named
from aioqueue.client.options import SubmitOptions
from aioqueue.errors import BadArguments, BadOption, BadResult, NotSerializable, PayloadTooLarge
from aioqueue.limits import BODY_BYTES_MAX
from aioqueue.model.bodies import MSGPACK, pack_body

_Decoder = msgspec.msgpack.Decoder[Any]
_Arguments = tuple[tuple[Any, ...], dict[str, Any]]

# What msgspec raises for a value that msgpack cannot say: a type, an integer over 64 bits, a broken string, a cycle.
_UNPACKABLE: Final = (TypeError, ValueError, OverflowError, RecursionError)
_raw_decoder: Final = msgspec.msgpack.Decoder(tuple[list[msgspec.Raw], dict[str, msgspec.Raw]])

_POSITIONAL: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
# A keyword of such a parameter's name belongs to `**kwargs`.
_NO_KEYWORD: Final = (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_STARS: Final[dict[Any, str]] = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}

# A body of arguments begins with its codec and an array of 2; then comes an array of the positional ones, which up to
# 15 of them is one byte. That byte chooses a decoder that reads all of them, with their types, in one call of 0.2 us.
_ARGUMENTS: Final = MSGPACK + b"\x92"
_SHORT_ARRAY: Final = 0x90
_SHORT_ARRAY_MAX: Final = 15


def pack_arguments(task: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """Arguments as a body. Raises `NotSerializable`, naming the argument, or `PayloadTooLarge`."""
    try:
        body = pack_body((args, kwargs))
    except _UNPACKABLE as error:
        raise NotSerializable(what=_culprit(args, kwargs), task=task, reason=_reason(error)) from None
    if len(body) > BODY_BYTES_MAX:
        raise PayloadTooLarge(what=f"the arguments of task {task}", size=len(body), limit=BODY_BYTES_MAX)
    return body


class Signature:
    """The parameters and the result of one task's function, without its `Context`.

    `visible` is the signature that callers see.
    """

    def __init__(self, task: str, visible: inspect.Signature, takes_context: bool, fn: Callable[..., Any]) -> None:
        self.task = task
        self.visible = visible
        self.takes_context = takes_context
        self._fn = fn
        self._check = _compile(task, visible)
        self._positional = [p.name for p in visible.parameters.values() if p.kind in _POSITIONAL]
        self._rest = _only(visible, Parameter.VAR_POSITIONAL)
        self._keyword_rest = _only(visible, Parameter.VAR_KEYWORD)
        self._no_keyword = {p.name for p in visible.parameters.values() if p.kind in _NO_KEYWORD}
        self._readers: _Readers | None = None
        self._result: _Decoder | None = None

    @classmethod
    def of(cls, fn: Callable[..., Any], task: str = "") -> Signature:
        """The signature of a function; `task` is the name that errors give it, by default its own.

        Raises `BadAnnotation` for types that cannot be told apart in bytes, and `BadOption` for a `Context` that is
        not the first parameter.
        """
        task = task or str(getattr(fn, "__qualname__", fn))
        signature = inspect.signature(fn)
        parameters = list(signature.parameters.values())
        wants = [is_context(fn, parameter.annotation) for parameter in parameters]
        if any(wants[1:]):
            raise BadOption(option="fn", value=task, reason="a Context must be its first parameter, and the only one")
        takes_context = bool(wants and wants[0])
        visible = signature.replace(parameters=parameters[takes_context:])
        made = cls(task, visible, takes_context, fn)
        for resolve in (made._resolve_readers, made._resolve_result):
            # What is defined further down is looked up again by the first job, and missed there if it is not there.
            with suppress(NotYetDefined):
                resolve()
        return made

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise `BadArguments` where a call with these arguments would raise `TypeError`."""
        # A compiled function with the same parameters costs 0.15 us, `inspect.Signature.bind` 4.7.
        try:
            self._check(*args, **kwargs)
        except TypeError as error:
            reason = str(error).removeprefix(f"{self.task}() ")
            raise BadArguments(
                task=self.task, reason=f"{reason}; it is {self.task}{self.visible}{self._misplaced(kwargs)}"
            ) from None

    def pack(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """Arguments that `bind` accepts, as a body. Raises `BadArguments`, `NotSerializable` or `PayloadTooLarge`."""
        self.bind(args, kwargs)
        return pack_arguments(self.task, args, kwargs)

    def unpack(self, body: bytes) -> _Arguments:
        """The arguments in a body, each as its annotation says.

        Raises `BadArguments`, naming the parameter, and `BadAnnotation` where an annotation cannot be looked up.
        """
        readers = self._readers or self._resolve_readers()
        decoder = readers.by_count.get(body[2]) if len(body) > 2 and body[:2] == _ARGUMENTS else None
        if decoder is None:
            return self._unpack_one_by_one(readers, body)
        try:
            args, keywords = decoder.decode(memoryview(body)[1:])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self._unpack_one_by_one(readers, body)
        self.bind(args, keywords)
        return args, self._keywords(readers, keywords) if keywords else keywords

    def pack_result(self, value: Any) -> bytes:
        """A result as a body. Raises `NotSerializable` or `PayloadTooLarge`."""
        try:
            body = pack_body(value)
        except _UNPACKABLE as error:
            raise NotSerializable(what="the result", task=self.task, reason=_reason(error)) from None
        if len(body) > BODY_BYTES_MAX:
            raise PayloadTooLarge(what=f"the result of task {self.task}", size=len(body), limit=BODY_BYTES_MAX)
        return body

    def unpack_result(self, body: bytes) -> Any:
        """The result in a body, as the annotation says. Raises `BadResult` or `BadAnnotation`."""
        decoder = self._result or self._resolve_result()
        if body[:1] != MSGPACK:
            raise BadResult(task=self.task, reason=f"codec {body[:1]!r} is not known here")
        try:
            return decoder.decode(memoryview(body)[1:])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadResult(task=self.task, reason=_reason(error)) from None

    def _unpack_one_by_one(self, readers: _Readers, body: bytes) -> _Arguments:
        """The general way: many arguments, and finding the one that does not fit."""
        if body[:1] != MSGPACK:
            raise BadArguments(task=self.task, reason=f"codec {body[:1]!r} is not known here")
        try:
            args, keywords = _raw_decoder.decode(memoryview(body)[1:])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadArguments(task=self.task, reason=f"they cannot be read: {_reason(error)}") from None
        self.bind(args, keywords)
        names = self._positional + [self._rest] * (len(args) - len(self._positional))
        found = tuple(self._read(readers, name, raw) for name, raw in zip(names, args, strict=False))
        return found, self._keywords(readers, keywords)

    def _misplaced(self, kwargs: Mapping[str, Any]) -> str:
        options = set(kwargs) & set(SubmitOptions.__annotations__) - set(self.visible.parameters)
        name = min(options, default="")
        return f"; {name} is an option, given by task.options({name}=...)" if name else ""

    def _keywords(self, readers: _Readers, keywords: dict[str, msgspec.Raw]) -> dict[str, Any]:
        parameters = self.visible.parameters
        return {
            key: self._read(
                readers, key if key in parameters and key not in self._no_keyword else self._keyword_rest, raw
            )
            for key, raw in keywords.items()
        }

    def _read(self, readers: _Readers, name: str, raw: msgspec.Raw) -> Any:
        try:
            return readers.by_name[name].decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadArguments(task=self.task, reason=f"{name}: {_reason(error)}") from None

    def _resolve_readers(self) -> _Readers:
        kinds = {name: self._kind(f"parameter {name}", p.annotation, p.default) for name, p in self._parameters()}
        by_name = {name: self._decoder(f"parameter {name}", kind) for name, kind in kinds.items()}
        positional = [kinds[name] for name in self._positional[:_SHORT_ARRAY_MAX]]
        by_count = {
            _SHORT_ARRAY + count: self._decoder("a parameter", _tuple_of(positional[:count]))
            for count in range(len(positional) + 1)
        }
        self._readers = _Readers(by_name, by_count)
        return self._readers

    def _resolve_result(self) -> _Decoder:
        kind = self._kind("the result", self.visible.return_annotation)
        self._result = self._decoder("the result", kind)
        return self._result

    def _parameters(self) -> list[tuple[str, Parameter]]:
        return list(self.visible.parameters.items())

    def _kind(self, what: str, annotation: Any, default: Any = Parameter.empty) -> Any:
        kind = type_named(self._fn, annotation, task=self.task, what=what)
        return decodable(kind, default, task=self.task, what=what)

    def _decoder(self, what: str, kind: Any) -> _Decoder:
        return decoder_of(kind, task=self.task, what=what)


class _Readers(NamedTuple):
    """Decoders of one parameter, by its name, and of all, by the byte that says how many are positional."""

    by_name: dict[str, _Decoder]
    by_count: dict[int, _Decoder]


def _tuple_of(kinds: list[Any]) -> Any:
    """Positional arguments of these types, and keywords that are read one by one."""
    return tuple[(tuple[tuple(kinds)], dict[str, msgspec.Raw])]  # type: ignore[misc]


def _compile(task: str, visible: inspect.Signature) -> Callable[..., None]:
    """A function of the same parameters that does nothing: Python's own binding, in C.

    The source holds names of parameters only, which are identifiers; defaults and annotations are not in it.
    """
    parts: list[str] = []
    kinds = [parameter.kind for parameter in visible.parameters.values()]
    for index, parameter in enumerate(visible.parameters.values()):
        if parameter.kind is Parameter.KEYWORD_ONLY and Parameter.VAR_POSITIONAL not in kinds and "*" not in parts:
            parts.append("*")
        default = "" if parameter.default is Parameter.empty else "=None"
        parts.append(f"{_STARS.get(parameter.kind, '')}{parameter.name}{default}")
        if parameter.kind is Parameter.POSITIONAL_ONLY and Parameter.POSITIONAL_ONLY not in kinds[index + 1 :]:
            parts.append("/")
    check: Callable[..., None] = eval(f"lambda {', '.join(parts)}: None", {"__builtins__": {}})
    check.__qualname__ = task
    return check


def _only(visible: inspect.Signature, kind: Any) -> str:
    return next((name for name, parameter in visible.parameters.items() if parameter.kind is kind), "")


def _culprit(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Which argument cannot be packed, found by trying each."""
    named = [(f"argument {index + 1}", value) for index, value in enumerate(args)]
    for name, value in named + [(f"argument {name!r}", value) for name, value in kwargs.items()]:
        try:
            pack_body(value)
        except _UNPACKABLE:
            return name
    return "an argument"


def _reason(error: BaseException) -> str:
    return str(error).removesuffix(" - at `$`")
