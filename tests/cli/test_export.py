"""`aioqueue export`: the history as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from aioqueue.cli.backing import _folder
from aioqueue.cli.exporting import _output
from aioqueue.errors import DeadlineExceeded
from aioqueue.journal.fresh import fresh_journal
from aioqueue.model.views import JobInfo
from tests.support.shell import Shell


def lines_of(text: str) -> dict[str, dict[str, Any]]:
    documents = [json.loads(line) for line in text.splitlines()]
    return {document["id"]: document for document in documents}


def test_every_job_is_a_line_with_its_runs(at_shop: Shell) -> None:
    waiting = at_shop.run("submit", "shop:wait_elsewhere").out.strip()
    done = at_shop.run("submit", "shop:add", "1", "--wait", "--json").json["id"]
    dead = at_shop.run("submit", "shop:fail", "no\x1b[2Jstock", "--wait", "--json").json["id"]

    told = at_shop.run("export")
    exported = lines_of(told.out)

    assert "\x1b" not in told.out
    assert [exported[job]["state"] for job in (waiting, done, dead)] == ["ready", "succeeded", "dead"]
    outcomes = [[run["outcome"] for run in exported[job]["history"]] for job in (waiting, done, dead)]
    assert outcomes == [[], ["succeeded"], ["failed"]]
    left_out = {"attempts", "blocked", "deaf_at"}
    assert set(exported[dead]) == {*JobInfo.__struct_fields__, "kwargs", "history"} - left_out
    shown = at_shop.run("show", done, "--json").json
    assert exported[done]["history"] == shown["history"]


def test_a_file_is_whole_or_not_there_and_never_written_over(at_shop: Shell, tmp_path: Path) -> None:
    for _ in range(2):
        at_shop.run("submit", "shop:wait_elsewhere")
    path = tmp_path / "jobs.jsonl"

    assert "2 jobs exported" in at_shop.run("export", "--limit", "2", "--out", str(path)).err
    assert len(lines_of(path.read_text())) == 2
    assert "exists already" in at_shop.run("export", "--out", str(path)).refused()
    assert "no broker" in at_shop.run("export", "--url", "tcp://127.0.0.1:1", "--out", str(tmp_path / "new")).refused()
    assert "missing does not exist" in at_shop.run("export", "--out", str(tmp_path / "missing" / "jobs")).refused()
    assert sorted(path.name for path in tmp_path.iterdir() if "jobs" in path.name or "new" in path.name) == [
        "jobs.jsonl"
    ]


@pytest.mark.parametrize("made", [_output, _folder, fresh_journal])
def test_a_broker_that_does_not_answer_in_time_is_not_told_as_a_fault_of_the_file(
    made: Callable[[str], AbstractContextManager[Any]], tmp_path: Path
) -> None:
    with pytest.raises(DeadlineExceeded), made(str(tmp_path / "jobs")):
        raise DeadlineExceeded(what="the list of jobs", seconds=60)


@pytest.mark.parametrize("option", [("--since", "soon"), ("--state", "nope"), ("--queue", "a b")])
def test_a_filter_that_cannot_be_is_one_sentence(at_shop: Shell, option: tuple[str, str]) -> None:
    assert "cannot" in at_shop.run("export", *option).refused()
