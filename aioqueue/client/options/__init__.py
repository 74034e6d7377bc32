"""The options of a task and of a submit: what they are called, what they may be, and what becomes of them."""

from aioqueue.client.options.layers import DEFAULT_QUEUE, NEVER, PRIORITIES, Executor, Options, Priority, When, merged
from aioqueue.client.options.plan import Plan, plan_for
from aioqueue.client.options.retry import ExceptionTypes, Retry
from aioqueue.client.options.submit import SubmitOptions, submit_options
from aioqueue.client.options.task import TaskOptions, default_options, task_options

__all__ = [
    "DEFAULT_QUEUE",
    "NEVER",
    "PRIORITIES",
    "ExceptionTypes",
    "Executor",
    "Options",
    "Plan",
    "Priority",
    "Retry",
    "SubmitOptions",
    "TaskOptions",
    "When",
    "default_options",
    "merged",
    "plan_for",
    "submit_options",
    "task_options",
]
