"""A task by its name alone, for programs that submit what they cannot import."""

from __future__ import annotations

from typing import Any, Unpack

from aioqueue.client.options import Options, Plan, SubmitOptions, merged, plan_for, submit_options
from aioqueue.client.signature import pack_arguments
from aioqueue.errors import BadResult
from aioqueue.model.bodies import unpack_body
from aioqueue.model.names import check_name


class NamedTask:
    """A task that this program does not know: arguments are packed as they are, results come as plain values.

    `task` is the name. Raises `BadName`.
    """

    __slots__ = ("_options", "_plan", "task")

    def __init__(self, task: str, options: Options | None = None) -> None:
        self.task = check_name("task", task)
        self._options: Options = options or {}
        self._plan: Plan | None = None

    def options(self, **options: Unpack[SubmitOptions]) -> NamedTask:
        """The same name with other options. Raises `BadOption` or `BadName`."""
        return NamedTask(self.task, merged(submit_options(options), self._options))

    def plan(self, namespace: str) -> Plan:
        """What a submit needs besides its arguments."""
        if self._plan is None or self._plan.spec.namespace != namespace:
            self._plan = plan_for(self.task, self._options, namespace)
        return self._plan

    def pack(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """The arguments as a body. Raises `NotSerializable` or `PayloadTooLarge`."""
        return pack_arguments(self.task, args, kwargs)

    def unpack_result(self, body: bytes) -> Any:
        """The plain value in a result's body. Raises `BadResult`."""
        try:
            return unpack_body(body)
        except (ValueError, RecursionError) as error:
            raise BadResult(task=self.task, reason=str(error)) from None
