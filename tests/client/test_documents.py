"""Records as JSON objects."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioqueue.client.documents import document, json_text
from aioqueue.model.views import Attempt, Block, Failure, RunningJob
from tests.support.statistics import JOB, JOB_TEXT, queue, statistics


def test_records_become_objects_with_ids_as_uuid_text() -> None:
    told = json.loads(json_text(document(statistics(queue(ready=1), running=[RunningJob(JOB, "t", "q", "w", 1, 2)]))))

    assert told["queues"][0]["ready"] == 1
    assert told["running"] == [
        {
            "id": JOB_TEXT, "task": "t", "queue": "q", "worker": "w", "run": 1, "running_ms": 2, "blocked": None,
            "own_id": "",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(("job", "text"), [(JOB, JOB_TEXT), (b"", "")])
def test_the_job_that_blocks_is_told_as_uuid_text_and_one_that_is_not_known_as_none(job: bytes, text: str) -> None:
    told = document(RunningJob(JOB, "t", "q", "w", 1, 2, Block(job, "t", "shop.py:7 in send", 3)))

    assert told["blocked"] == {"job": text, "task": "t", "place": "shop.py:7 in send", "for_ms": 3}


def test_records_inside_records_become_objects_too() -> None:
    attempt = Attempt(1, "failed", 5, 6, "w", Failure("ValueError", "no"))

    assert document([attempt])[0]["failure"] == {"type": "ValueError", "text": "no", "traceback": "", "retry": True}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (datetime(2026, 1, 31, tzinfo=UTC), '"2026-01-31T00:00:00Z"'),
        (PurePosixPath("/tmp"), '"/tmp"'),
        ({"a": {(1, 2): 3}, "b": 4}, '{"a":{"(1, 2)":3},"b":4}'),
        ({1: "a"}, '{"1":"a"}'),
        ("\x1b\x9b", r'"\u001b\u009b"'),
        (b"\x00\xff", '"AP8="'),
        (1j, '"1j"'),
    ],
)
def test_any_result_can_be_printed(value: object, told: str) -> None:
    assert json_text(value) == told


def test_indented_json_is_the_same_json() -> None:
    assert json.loads(json_text({"a": [1, {"b": None}]}, indent=2)) == {"a": [1, {"b": None}]}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_text_means_the_same_and_holds_no_control_character(text: str) -> None:
    told = json_text({"text": text})

    assert json.loads(told) == {"text": text}
    assert not any("\x00" <= char < " " or "\x7f" <= char < "\xa0" or char == "\u202e" for char in told)
