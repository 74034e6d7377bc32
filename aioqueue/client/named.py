"""A task by its name alone, for programs that submit what they cannot import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, TypeVar, Unpack

import msgspec

from aioqueue.client.annotations import decodable, decoder_of
from aioqueue.client.described import Described
from aioqueue.client.options import Options, Plan, SubmitOptions, merged, plan_for, submit_options
from aioqueue.client.signature import pack_arguments
from aioqueue.client.task import Call
from aioqueue.errors import BadOption, BadResult
from aioqueue.model.bodies import MSGPACK
from aioqueue.model.names import check_name

R_co = TypeVar("R_co", covariant=True)

_NOTHING: Final = Options()


class NamedTask(Generic[R_co]):
    """A task that this program does not import. Made by `queue.named`.

    `task` is the name. As long as nobody has said what it declares (`as_described`), its arguments are packed as they
    are; then they are checked, and its jobs have the options of the declaration, which options that are given here
    beat. `unregistered` says that a name is submitted which no worker has registered. `described` is what the
    declaration says, where that is known; `resolved` says that it was asked for.

    Raises `BadName`, and `BadAnnotation` for a type of results that no bytes can be told apart as.
    """

    __slots__ = (
        "_decoder", "_defaults", "_options", "_plan", "_twin", "described", "resolved", "result_type", "task",
        "unregistered",
    )  # fmt: skip

    def __init__(
        self,
        task: str,
        defaults: Options | None = None,
        *,
        result_type: Any = Any,
        unregistered: bool = False,
        options: Options = _NOTHING,
        described: Described | None = None,
        resolved: bool = False,
    ) -> None:
        self.task: str = check_name("task", task)
        if not isinstance(unregistered, bool):
            raise BadOption(option="unregistered", value=unregistered, reason="it must be True or False")
        self.unregistered: bool = unregistered
        self.result_type: Any = result_type
        self._decoder: msgspec.msgpack.Decoder[Any] = decoder_of(decodable(result_type), task=task, what="the result")
        self._defaults: Options = defaults or {}
        self._options = options
        self.described: Described | None = described
        self.resolved: bool = resolved
        self._plan: Plan | None = None
        self._twin: NamedTask[R_co] | None = None

    @property
    def name(self) -> str:
        """The name, as `Task` has it."""
        return self.task

    @property
    def signature(self) -> NamedTask[R_co]:
        """How its results are read: by itself."""
        return self

    def options(self, **options: Unpack[SubmitOptions]) -> NamedTask[R_co]:
        """The same name with other options. Raises `BadOption` or `BadName`."""
        return self._changed(merged(submit_options(options), self._options), self.described, resolved=self.resolved)

    def as_described(self, described: Described | None) -> NamedTask[R_co]:
        """The same as its declaration says, or with none; the same object again for the same description."""
        twin = self._twin
        if twin is None or twin.described is not described:
            twin = self._twin = self._changed(self._options, described, resolved=True)
        return twin

    def _changed(self, options: Options, described: Described | None, *, resolved: bool) -> NamedTask[R_co]:
        return NamedTask(
            self.task, self._defaults, result_type=self.result_type, unregistered=self.unregistered, options=options,
            described=described, resolved=resolved,
        )  # fmt: skip

    def call(self, *args: Any, **kwargs: Any) -> Call[R_co]:
        """A submit as a value, for `submit_many`. What its arguments must be is known when it is submitted."""
        return Call(self, args, kwargs)

    def plan(self, namespace: str) -> Plan:
        """What a submit needs besides its arguments."""
        if self._plan is None or self._plan.spec.namespace != namespace:
            lower = self._defaults if self.described is None else self.described.options
            self._plan = plan_for(self.task, merged(self._options, lower), namespace)
        return self._plan

    def pack(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """The arguments as a body. Raises `BadArguments`, `NotSerializable` or `PayloadTooLarge`."""
        if self.described is not None:
            self.described.bind(args, kwargs)
        return pack_arguments(self.task, args, kwargs)

    def unpack_result(self, body: bytes) -> Any:
        """The value in a result's body. Raises `BadResult`."""
        if body[:1] != MSGPACK:
            raise BadResult(task=self.task, reason=f"codec {body[:1]!r} is not known here")
        try:
            return self._decoder.decode(memoryview(body)[1:])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadResult(task=self.task, reason=str(error).removesuffix(" - at `$`")) from None

    def __repr__(self) -> str:
        return f"<NamedTask {self.task}>"
