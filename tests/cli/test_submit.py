"""`aioqueue submit`: from words to a job, and to its end."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest
import typer

from aioqueue.cli import submitting
from aioqueue.cli.submitting import parsed_arguments
from aioqueue.errors import OutcomeUnknown
from aioqueue.model.ids import own_id
from aioqueue.protocol.messages import Submit
from tests.support.fake_broker import FakeBroker
from tests.support.shell import Shell


def test_a_task_of_a_module_runs_with_words_as_arguments_and_its_result_is_printed_as_json(at_shop: Shell) -> None:
    assert at_shop.run("submit", "shop:add", "20", "22", "--wait") == (0, "42\n", "")


def test_a_task_is_found_by_its_name_alone_where_its_code_is_not(at_shop: Shell, folder: Path) -> None:
    (folder / "shop.py").unlink()

    assert at_shop.run("submit", "shop.add", "[20, 22]", "--wait") == (0, "42\n", "")


def test_keyword_arguments_and_options_reach_the_job(at_shop: Shell) -> None:
    words = ["--args", "[1]", "--kwargs", '{"b": 2}', "--priority", "high", "--queue", "later", "--delay", "1h"]
    job_id = at_shop.run("submit", "shop:add", *words).out.strip()

    info = at_shop.run("show", job_id, "--json").json
    assert (info["priority"], info["queue"], info["state"]) == (8, "later", "scheduled")
    assert info["due_ms"] >= info["submitted_ms"] + 3_600_000


def test_a_job_that_nobody_begins_in_time_is_shown_with_the_reason(at_shop: Shell) -> None:
    words = ["--expires", "1ms", "--deadline", "1h", "--queue", "later", "--wait", "--json"]
    ended = at_shop.run("submit", "shop:add", "1", *words)
    assert (ended.code, ended.json["state"]) == (3, "expired")
    assert "expired: it had not begun in time" in ended.err

    info = at_shop.run("show", ended.json["id"], "--json").json
    assert (info["note"], info["parent"]) == ("it had not begun in time", None)
    assert info["deadline_ms"] == info["submitted_ms"] + 3_600_000
    shown = at_shop.run("show", ended.json["id"]).out
    assert "why:       it had not begun in time" in shown
    assert "deadline:" in shown
    assert "it had not begun in time" in at_shop.run("ls", "--state", "expired").out


def test_the_callers_own_id_is_one_job_however_often_it_is_submitted(at_shop: Shell) -> None:
    words = ["submit", "shop:wait_elsewhere", "--id", "submitted-twice"]

    first, again = at_shop.run(*words), at_shop.run(*words)
    assert first == (0, again.out, "")
    assert again.err == f"aioqueue: job {first.out.strip()} existed already; nothing was submitted\n"
    assert at_shop.run(*words, "--json").json["existed"] is True
    refused = at_shop.run("submit", "shop:add", "1", "--queue", "elsewhere", "--id", "submitted-twice").refused()
    assert "('submitted-twice') is taken by a job of task shop.wait_elsewhere, so task shop.add cannot" in refused
    (row,) = [line for line in at_shop.run("ls", "--queue", "elsewhere").out.splitlines() if "submitted-twice" in line]
    assert row.startswith(first.out.strip())
    listed = at_shop.run("ls", "--queue", "elsewhere", "--json").json
    expected = str(uuid.UUID(bytes=own_id("default", "elsewhere", "submitted-twice")))
    assert [info["own_id"] for info in listed if info["id"] == expected] == ["submitted-twice"]
    assert at_shop.run("show", "submitted-twice", "--queue", "elsewhere", "--json").json["id"] == expected
    assert at_shop.run("cancel", "submitted-twice", "--queue", "elsewhere").out == "cancelled\n"
    assert at_shop.run("retry", "submitted-twice", "--queue", "elsewhere").out == "submitted\n"
    assert "for one of your own" in at_shop.run("show", "submitted-twice").refused()


def test_a_failed_job_exits_with_3_after_the_workers_traceback_and_one_sentence(at_shop: Shell) -> None:
    ended = at_shop.run("submit", "shop:fail", "no\x1b[2Jstock", "--wait")

    assert ended.code == 3
    assert ended.out == ""
    *traceback, sentence = ended.err.splitlines()
    assert traceback[0] == "Traceback (most recent call last):"
    assert "shop.py" in traceback[-3]
    assert sentence.startswith("aioqueue: job ")
    assert sentence.endswith(r"of task shop.fail failed: ValueError: no\x1b[2Jstock")
    assert "\x1b" not in ended.err


def test_a_failed_job_as_json_tells_state_and_failure(at_shop: Shell) -> None:
    ended = at_shop.run("submit", "shop:fail", "no stock", "--wait", "--json")

    assert ended.code == 3
    assert ended.json["state"] == "dead"
    failure = ended.json["failure"]
    assert (failure["type"], failure["text"]) == ("ValueError", "no stock")
    assert failure["traceback"].startswith("Traceback")


def test_a_job_that_does_not_end_in_time_is_told_and_goes_on(at_shop: Shell) -> None:
    sentence = at_shop.run("submit", "shop:wait_elsewhere", "--wait", "--timeout", "10ms").refused()

    assert "was not answered within 0.01 s" in sentence


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["shop:gone"], "no task is called 'shop:gone' here; known tasks: shop:add, shop:fail, shop:wait_elsewhere"),
        (["shop:not_a_task"], "no task is called 'shop:not_a_task'"),
        (["nowhere:add"], "cannot load 'nowhere:add': there is no module 'nowhere'"),
        (["shop:"], "MODULE:TASK, for example shop.jobs:send"),
        (["shop:add"], "the arguments do not fit task shop.add: missing 1 required positional argument: 'a'"),
        (["shop:add", "one"], "the arguments do not fit task shop.add: a: Expected `int`, got `str`"),
        (["shop:add", "1", "--priority", "17"], "the option priority=17 cannot be used"),
        (["shop:add", "1", "--delay", "soon"], "the option delay='soon' cannot be used"),
        (["two words"], "'two words' cannot name a task"),
        (["shop.add", "1", "--id", ""], "the option id='' cannot be used"),
        (["shop:add", "1", "--namespace", "other"], "the queue of shop:add has namespace default"),
        (["shop.add", "1", "--namespace", "two words"], "'two words' cannot name a namespace"),
        (["shop.add", "99999999999999999999"], "argument 1 of task shop.add cannot be serialized"),
    ],
)
def test_what_cannot_be_submitted_is_one_sentence(words: list[str], fragment: str, shell: Shell) -> None:
    assert fragment in shell.run("submit", *words).refused()


def test_a_module_whose_import_fails_is_one_sentence_that_names_the_line(shell: Shell, folder: Path) -> None:
    (folder / "broken.py").write_text("\n\nraise RuntimeError('no\\nconfiguration')\n")

    sentence = shell.run("submit", "broken:add").refused()

    assert "RuntimeError: no configuration" in sentence
    assert f"{folder / 'broken.py'} line 3" in sentence


def test_a_module_that_is_a_program_without_a_guard_is_one_sentence(shell: Shell, folder: Path) -> None:
    program = "async def main():\n    async with queue: ...\nasyncio.run(main())\n"
    (folder / "bare.py").write_text(f"import asyncio\nfrom aioqueue import Queue\nqueue = Queue()\n{program}")
    told = shell.run("submit", "bare:task").refused()
    assert 'the aioqueue command imports this program; let it begin under `if __name__ == "__main__":`' in told


def test_a_module_with_a_queue_in_memory_is_told_where_jobs_can_go(shell: Shell, folder: Path) -> None:
    (folder / "alone.py").write_text(
        "from aioqueue import Queue\nqueue = Queue('memory:')\n@queue.task\nasync def f(): ...\n"
    )

    assert "the jobs of a memory: broker are only seen by its own program" in shell.run("submit", "alone:f").refused()


def test_a_module_whose_queue_names_no_broker_is_told_how_to_name_one(shell: Shell) -> None:
    assert shell.run("submit", "shop:add", "1").refused().startswith("no broker is named: write Queue('memory:')")


def test_the_url_in_code_goes_before_the_environment_and_the_flag_before_both(
    shell: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, named, flagged = (f"sqlite:{folder / name}" for name in ("own.db", "named.db", "flagged.db"))
    (folder / "fixed.py").write_text(
        f"from aioqueue import Queue\nqueue = Queue({own!r})\n@queue.task\nasync def f(): ...\n"
    )
    monkeypatch.setenv("AIOQUEUE_URL", named)

    loser = shell.run("submit", "fixed:f")
    winner = shell.run("submit", "fixed:f", "--url", flagged)

    assert loser.code == 0
    assert loser.err.startswith("aioqueue: warning: AIOQUEUE_URL is not used, because the code names another broker")
    assert (winner.code, winner.err) == (0, "")
    for url, job in ((own, loser), (flagged, winner)):
        assert [info["id"] for info in shell.run("ls", "--json", "--url", url).json] == [job.out.strip()]
    assert not (folder / "named.db").exists()


def test_a_job_can_be_submitted_into_the_journal_of_a_stopped_broker(shell: Shell, folder: Path) -> None:
    url = f"sqlite:{folder / 'jobs.db'}"
    job_id = shell.run("submit", "shop:add", "1", "--url", url).out.strip()

    listed = shell.run("ls", "--json", "--url", url).json
    assert [(info["id"], info["state"]) for info in listed] == [(job_id, "ready")]


async def test_a_broker_that_never_answers_leaves_the_outcome_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "SUBMIT_SECONDS", 0.05)
    broker = await FakeBroker().start()
    submission = submitting.Submission("shop.add", [1], {}, {}, broker.url, "default")
    submitted = asyncio.create_task(submitting.submit_one(submission, wait=False, timeout=None, json=False))
    await (await broker.welcome()).expect(Submit)
    with pytest.raises(OutcomeUnknown) as caught:
        await submitted
    await broker.stop()

    assert str(caught.value).startswith(f"the submit of job {caught.value.job} was sent and not answered within 0.05 s")


@pytest.mark.parametrize(
    ("task", "words", "args", "expected"),
    [
        ("shop:add", ["1", "two", '{"three": 3}', "null"], "", [1, "two", {"three": 3}, None]),
        ("shop:add", ["[1, 2]"], "", [[1, 2]]),
        ("shop.add", ["[1, 2]"], "", [1, 2]),
        ("shop.add", ["[1, 2]", "3"], "", [[1, 2], 3]),
        ("shop.add", ["1"], "", [1]),
        ("shop:add", [], "[1, [2]]", [1, [2]]),
        ("shop:add", ["not [json]", "", '"[text"'], "", ["not [json]", "", "[text"]),
    ],
)
def test_words_become_arguments(task: str, words: list[str], args: str, expected: list[object]) -> None:
    assert parsed_arguments(task, words, args, "") == (expected, {})


@pytest.mark.parametrize(
    ("words", "args", "kwargs", "reason"),
    [
        ([], "[1", "", "--args is not JSON"),
        ([], "1", "", "--args must be a JSON array"),
        ([], "", "[]", "--kwargs must be a JSON object"),
        (["1"], "[1]", "", "one by one, or all by --args"),
        (["{not json"], "", "", "^{not json looks like JSON and is none: .*write it as a JSON string$"),
        (["1", ' ["a", 1'], "", "", "looks like JSON and is none"),
        (["{'a': 1}"], "", "", "looks like JSON and is none"),
        (['"half'], "", "", "looks like JSON and is none"),
    ],
)
def test_arguments_that_are_no_json_are_a_usage_error(words: list[str], args: str, kwargs: str, reason: str) -> None:
    with pytest.raises(typer.BadParameter, match=reason):
        parsed_arguments("shop:add", words, args, kwargs)
