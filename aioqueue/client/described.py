"""Between a task and its description: what a worker tells the registry, and what a submit by name makes of it.

`describe` is for whoever declares tasks to a broker, `Described` for whoever submits one that it cannot import.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from inspect import Parameter
from typing import Any, Final

from aioqueue.client.options import Options, Retry, When
from aioqueue.client.task import Task, options_of
from aioqueue.errors import BadArguments, MalformedFrame
from aioqueue.model.labels import check_labels
from aioqueue.model.registry import Passing, TaskDescription, TaskParameter, digest_of, pack_description

# By `Passing`.
_KINDS: Final = (
    Parameter.POSITIONAL_ONLY,
    Parameter.POSITIONAL_OR_KEYWORD,
    Parameter.VAR_POSITIONAL,
    Parameter.KEYWORD_ONLY,
    Parameter.VAR_KEYWORD,
)
# Of the text of an annotation and of a docstring; the rest of a long one helps nobody.
_KIND_CHARACTERS_MAX: Final = 100
_DOC_CHARACTERS_MAX: Final = 200


def describe(task: Task[..., Any]) -> tuple[bytes, bytes]:
    """The digest and the body of the task's description. Raises `PayloadTooLarge`."""
    body = pack_description(task.name, description_of(task))
    return digest_of(body), body


def description_of(task: Task[..., Any]) -> TaskDescription:
    """All that the declaration says."""
    # Any namespace: what the description takes of the plan is the same in all of them.
    plan, options = task.plan("default"), options_of(task)
    visible = task.signature.visible
    deadline, expires = options.get("deadline", When()), options.get("expires", When())
    return TaskDescription(
        queue=plan.queue,
        priority=plan.spec.priority,
        retry=plan.spec.retry,
        timeout_ms=plan.spec.timeout_ms,
        keep_ms=plan.spec.keep_ms,
        executor=task.executor,
        labels=options.get("labels", ()),
        delay_ms=plan.delay_ms,
        deadline=(deadline.in_ms, deadline.at_ms),
        expires=(expires.in_ms, expires.at_ms),
        inherit=plan.inherit,
        headers=dict(options.get("headers", {})),
        parameters=tuple(_parameter(each) for each in visible.parameters.values()),
        returns=_kind(visible.return_annotation),
        doc=_first_line(task.__doc__),
    )


def _parameter(parameter: Parameter) -> TaskParameter:
    open_ended = parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    required = parameter.default is Parameter.empty and not open_ended
    return TaskParameter(parameter.name, _kind(parameter.annotation), required, Passing(int(parameter.kind)))


def _kind(annotation: Any) -> str:
    if annotation is inspect.Signature.empty:
        return ""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return text[:_KIND_CHARACTERS_MAX]


def _first_line(doc: str | None) -> str:
    return (doc or "").strip().partition("\n")[0][:_DOC_CHARACTERS_MAX]


class Described:
    """A task as its description says: options of a submit, and the arguments that it takes.

    Raises `MalformedFrame` or `BadOption` for a description that no task has.
    """

    __slots__ = ("description", "options", "task", "visible")

    def __init__(self, task: str, description: TaskDescription) -> None:
        self.task: str = task
        self.description: TaskDescription = description
        self.options: Options = _options(description)
        try:
            self.visible: inspect.Signature = inspect.Signature([_shown(each) for each in description.parameters])
        except ValueError as error:
            raise MalformedFrame(reason=f"the description of task {task}: {error}") from None

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Raise `BadArguments` where a call with these arguments would raise `TypeError`."""
        try:
            # Never compiled, as a task's own signature is: these names came over a wire.
            self.visible.bind(*args, **kwargs)
        except TypeError as error:
            raise BadArguments(task=self.task, reason=f"{error}; it is {self.task}{self.visible}") from None


def _shown(parameter: TaskParameter) -> Parameter:
    kind = _KINDS[parameter.passing]
    open_ended = parameter.passing in (Passing.MORE_POSITIONAL, Passing.MORE_KEYWORDS)
    default = Parameter.empty if parameter.required or open_ended else _LEFT_OUT
    return Parameter(parameter.name, kind, default=default, annotation=_Text(parameter.kind) or Parameter.empty)


class _Text(str):
    """What a signature shows without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


# The default of an argument that may be left out: what it is, only the worker knows.
_LEFT_OUT: Final = _Text("...")


def _options(description: TaskDescription) -> Options:
    """The layer that the declaration is, every option said."""
    retry = description.retry
    return Options(
        queue=description.queue,
        priority=description.priority,
        retry=Retry(
            attempts=retry.attempts,
            backoff=retry.backoff,  # type: ignore[arg-type]
            base=f"{retry.base_ms}ms",
            factor=retry.factor,
            cap=f"{retry.cap_ms}ms",
            jitter=retry.jitter,
        ),
        timeout=description.timeout_ms,
        keep=description.keep_ms,
        delay=description.delay_ms,
        at=0,
        deadline=When(*description.deadline),
        expires=When(*description.expires),
        inherit=description.inherit,
        headers=description.headers,
        executor=description.executor,
        labels=check_labels(description.labels),
    )
