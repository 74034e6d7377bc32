"""Options: names, values, layers, plans."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aioqueue.client.options import (
    Options,
    Retry,
    default_options,
    merged,
    plan_for,
    submit_options,
    task_options,
)
from aioqueue.errors import BadName, BadOption, PayloadTooLarge
from aioqueue.limits import HEADERS_BYTES_MAX
from aioqueue.model.bodies import unpack_headers
from aioqueue.model.spec import RetryPolicy, unpack_spec

# --- names and values ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parse", [task_options, submit_options, default_options])
@pytest.mark.parametrize(
    ("said", "meant"),
    [("header", "headers"), ("countdown", "delay"), ("eta", "at"), ("max_retries", "retry"), ("task_id", "id")],
)
def test_a_slip_and_a_word_of_another_queue_are_answered_with_ours(parse: Any, said: str, meant: str) -> None:
    with pytest.raises(BadOption, match=rf"it is not known; did you mean {meant}=\?"):
        parse({said: 3})


@pytest.mark.parametrize("parse", [task_options, submit_options, default_options])
def test_an_unknown_option_is_refused_and_the_known_ones_are_named(parse: Any) -> None:
    with pytest.raises(BadOption, match="priority") as refused:
        parse({"prio": 3})
    assert (refused.value.option, refused.value.value) == ("prio", 3)


@pytest.mark.parametrize("option", ["unique", "group", "limits", "after", "batch"])
def test_an_option_of_a_later_version_is_refused_and_not_ignored(option: str) -> None:
    with pytest.raises(BadOption):
        task_options({option: None})


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        ({"priority": "high"}, {"priority": 8}),
        ({"priority": "medium"}, {"priority": 5}),
        ({"priority": "low"}, {"priority": 2}),
        ({"priority": 0}, {"priority": 0}),
        ({"delay": "10m"}, {"delay": 600_000, "at": 0}),
        ({"at": datetime(2030, 5, 1, 12, tzinfo=UTC)}, {"delay": 0, "at": 1_903_867_200_000}),
        ({"retry": 3}, {"retry": Retry(attempts=3)}),
        ({"timeout": timedelta(minutes=1)}, {"timeout": 60_000}),
        ({"keep": 0}, {"keep": 0}),
        ({"keep": "7d"}, {"keep": 604_800_000}),
        ({"id": "invoice-42"}, {"id": "invoice-42"}),
        ({"headers": {"trace": "1"}}, {"headers": {"trace": "1"}}),
        ({"queue": "mail"}, {"queue": "mail"}),
        ({"labels": ["gpu", "eu", "gpu"]}, {"labels": ("eu", "gpu")}),
        ({"labels": None}, {"labels": ()}),
    ],
)
def test_an_option_is_read_into_the_units_of_the_wire(given: dict[str, Any], parsed: dict[str, Any]) -> None:
    assert submit_options(given) == parsed


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("priority", 10),
        ("priority", -1),
        ("priority", True),
        ("priority", "urgent"),
        ("priority", 5.0),
        ("delay", -1),
        ("delay", "soon"),
        ("at", datetime(2030, 5, 1)),  # noqa: DTZ001 (naive is the subject)
        ("retry", 0),
        ("retry", True),
        ("retry", 1_001),
        ("retry", "3"),
        ("timeout", 0),
        ("timeout", float("nan")),
        ("keep", -1),
        ("id", ""),
        ("id", "x" * 257),
        ("id", 42),
        ("headers", {"a": 1}),
        ("headers", [("a", "b")]),
        ("labels", "gpu"),
        ("labels", 5),
        ("labels", [f"l{number}" for number in range(17)]),
    ],
)
def test_a_value_that_an_option_cannot_have_is_refused(option: str, value: Any) -> None:
    with pytest.raises(BadOption):
        submit_options({option: value})


@pytest.mark.parametrize("queue", ["", "a b", "x" * 129, "größe", "a/b", 5])
def test_a_queue_must_have_a_name_that_fits_keys_and_logs(queue: Any) -> None:
    with pytest.raises(BadName):
        task_options({"queue": queue})


def test_a_label_must_be_a_name() -> None:
    with pytest.raises(BadName, match="label"):
        task_options({"labels": ["two words"]})


def test_labels_travel_with_the_spec_and_cost_nothing_where_there_are_none() -> None:
    plain, labelled = plan_for("t", {}, "default"), plan_for("t", {"labels": ("gpu",)}, "default")
    assert (plain.spec.labels, labelled.spec.labels) == ((), ("gpu",))
    assert len(plain.spec_bytes) < len(labelled.spec_bytes)


def test_a_time_cannot_be_said_twice() -> None:
    with pytest.raises(BadOption, match="delay"):
        submit_options({"delay": 5, "at": datetime(2030, 1, 1, tzinfo=UTC)})


@pytest.mark.parametrize("given", [{"id": "a"}, {"at": datetime(2030, 1, 1, tzinfo=UTC)}])
def test_what_belongs_to_one_submit_cannot_be_declared(given: dict[str, Any]) -> None:
    with pytest.raises(BadOption, match="one submit"):
        task_options(given)


@pytest.mark.parametrize("parse", [submit_options, default_options])
def test_a_name_is_given_only_where_a_task_is_declared(parse: Any) -> None:
    with pytest.raises(BadOption):
        parse({"name": "send"})


# --- retry --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"attempts": 0},
        {"attempts": 2.0},
        {"attempts": True},
        {"backoff": "random"},
        {"base": -1},
        {"cap": "x"},
        {"factor": 0.5},
        {"factor": float("nan")},
        {"factor": True},
        {"jitter": 1},
        {"on": "OSError"},
        {"on": (BaseException,)},
        {"never": (1,)},
    ],
)
def test_a_retry_that_cannot_work_is_refused_where_it_is_written(given: dict[str, Any]) -> None:
    with pytest.raises(BadOption) as refused:
        Retry(**given)
    assert refused.value.option in given


def test_a_retry_becomes_the_policy_that_travels() -> None:
    retry = Retry(attempts=9, backoff="linear", base="2s", factor=3, cap=timedelta(minutes=1), jitter=False)
    assert retry.policy() == RetryPolicy(9, "linear", 2_000, 3.0, 60_000, False)


def test_the_default_retry_is_the_default_policy() -> None:
    assert Retry().policy() == RetryPolicy()


def test_only_exceptions_of_on_and_not_of_never_are_retried() -> None:
    retry = Retry(on=OSError, never=[FileNotFoundError])  # type: ignore[arg-type]
    assert retry.allows(ConnectionResetError())
    assert not retry.allows(FileNotFoundError())
    assert not retry.allows(ValueError())
    assert not Retry().allows(KeyboardInterrupt())


def test_what_the_worker_judges_cannot_be_given_by_a_submit() -> None:
    with pytest.raises(BadOption, match="worker"):
        submit_options({"retry": Retry(never=(ValueError,))})
    assert submit_options({"retry": Retry(attempts=2)}) == {"retry": Retry(attempts=2)}


# --- layers -------------------------------------------------------------------------------------------------------


def test_a_submit_beats_the_task_and_the_task_beats_the_queue() -> None:
    queue = default_options({"priority": 1, "keep": 10, "queue": "slow"})
    task = task_options({"priority": 2, "keep": 20})
    both = merged(submit_options({"priority": 3}), merged(task, queue))
    assert both == {"priority": 3, "keep": 20_000, "queue": "slow"}


def test_none_means_the_default_whatever_a_lower_layer_says() -> None:
    task = task_options({"timeout": 5, "priority": 9, "keep": 1, "queue": "mail", "headers": {"a": "b"}})
    nothing = submit_options(dict.fromkeys(task))
    assert plan_for("send", merged(nothing, task), "shop") == plan_for("send", Options(), "shop")


@pytest.mark.parametrize("layer", [task_options, submit_options])
def test_a_retry_of_none_could_mean_two_things_and_is_told_what_to_write(layer: Any) -> None:
    with pytest.raises(BadOption, match=r"write retry=1 for no retry, or leave it out for the usual 5 attempts"):
        layer({"retry": None})


def test_an_instant_takes_the_place_of_a_declared_delay() -> None:
    task = task_options({"delay": 60})
    plan = plan_for("send", merged(submit_options({"at": 1_903_867_200_000}), task), "shop")
    assert (plan.delay_ms, plan.at_ms) == (0, 1_903_867_200_000)


def test_no_instant_leaves_a_declared_delay_out_too() -> None:
    plan = plan_for("send", merged(submit_options({"at": None}), task_options({"delay": 60})), "shop")
    assert (plan.delay_ms, plan.at_ms) == (0, 0)


def test_headers_of_both_layers_travel_and_the_upper_one_wins() -> None:
    both = merged(submit_options({"headers": {"a": "new"}}), task_options({"headers": {"a": "old", "b": "old"}}))
    assert both["headers"] == {"a": "new", "b": "old"}


def test_merging_changes_neither_layer() -> None:
    upper, lower = submit_options({"headers": {"a": "1"}}), task_options({"headers": {"b": "2"}})
    merged(upper, lower)
    assert (upper, lower) == ({"headers": {"a": "1"}}, {"headers": {"b": "2"}})


# --- plans --------------------------------------------------------------------------------------------------------


def test_a_plan_says_what_the_options_said() -> None:
    options = submit_options(
        {"queue": "mail", "priority": "high", "delay": 1.5, "retry": 2, "timeout": "1m", "id": "a", "keep": "1d"}
    )
    plan = plan_for("send", merged(submit_options({"headers": {"k": "v"}}), options), "shop")
    spec = unpack_spec(plan.spec_bytes)
    assert spec == plan.spec
    assert (spec.namespace, spec.queue, spec.task, spec.priority) == ("shop", "mail", "send", 8)
    assert (spec.timeout_ms, spec.keep_ms, spec.retry) == (60_000, 86_400_000, RetryPolicy(attempts=2))
    assert (plan.queue, plan.task, plan.delay_ms, plan.at_ms, plan.own_id) == ("mail", "send", 1_500, 0, "a")
    assert unpack_headers(plan.headers) == {"k": "v"}


def test_plans_that_share_their_options_share_their_bytes() -> None:
    first = plan_for("send", submit_options({"delay": 1}), "shop")
    second = plan_for("send", submit_options({"delay": 2, "id": "x"}), "shop")
    assert first.spec_bytes is second.spec_bytes


def test_headers_over_their_limit_are_refused_with_the_numbers() -> None:
    options = submit_options({"headers": {"k": "v" * HEADERS_BYTES_MAX}})
    with pytest.raises(PayloadTooLarge) as refused:
        plan_for("send", options, "shop")
    assert refused.value.limit == HEADERS_BYTES_MAX < refused.value.size
