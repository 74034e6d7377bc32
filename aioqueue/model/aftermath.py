"""What follows a failed attempt, in words: one sentence for the logs of brokers and workers. Pure."""

from __future__ import annotations

from aioqueue.model.states import TERMINAL, JobState


def aftermath(state: JobState, failures: int, attempts: int, in_ms: int, *, retry: bool) -> str:
    """`again in 2.1 s, attempt 3 of 5`, or `dead: …` with the reason.

    `state` is what the job is in since `failures` of its `attempts` failed, `in_ms` when it is tried again, and `retry`
    the worker's judgement of the failure.
    """
    if state is JobState.DEAD:
        return f"dead: {_why_dead(failures, attempts, retry)}"
    if state in TERMINAL:
        return state.label
    return f"again {f'in {_length(in_ms)}' if in_ms else 'at once'}, attempt {failures + 1} of {attempts}"


def _why_dead(failures: int, attempts: int, retry: bool) -> str:
    if not retry:
        return "it is not to be tried again after this error"
    if failures < attempts:
        return "the next attempt could not begin before its deadline"
    return f"out of attempts ({failures} of {attempts})"


def _length(ms: int) -> str:
    if ms < 60_000:
        return f"{ms / 1_000:.1f} s"
    minutes = round(ms / 60_000)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
