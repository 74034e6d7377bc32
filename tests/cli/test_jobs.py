"""`aioqueue ls`, `show`, `cancel` and `retry` against a real broker."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from msgspec.structs import replace

from aioqueue.cli.showing import described
from aioqueue.client.info import friendly
from tests.support.examples import INFO
from tests.support.shell import Shell


@pytest.fixture
def waiting(at_shop: Shell) -> str:
    """The id of a job that no worker takes."""
    return at_shop.run("submit", "shop:wait_elsewhere").out.strip()


@pytest.fixture
def dead(at_shop: Shell) -> str:
    """The id of a job that failed."""
    job_id: str = at_shop.run("submit", "shop:fail", "no\x1b[2Jstock", "--wait", "--json").json["id"]
    return job_id


def test_ls_shows_what_was_submitted_with_whole_ids_and_reasons(at_shop: Shell, waiting: str, dead: str) -> None:
    lines = at_shop.run("ls").out.splitlines()

    assert lines[0].split() == [
        "ID",
        "STATE",
        "TASK",
        "QUEUE",
        "PRIORITY",
        "SUBMITTED",
        "TOOK",
        "RUNS",
        "OWN",
        "ID",
        "NOTE",
    ]
    by_id = {line.split()[0]: line.split() for line in lines[1:]}
    assert by_id[waiting][1:4] == ["ready", "shop.wait_elsewhere", "elsewhere"]
    assert by_id[dead][1:4] == ["dead", "shop.fail", "default"]
    assert by_id[dead][-2:] == ["ValueError:", r"no\x1b[2Jstock"]


def test_ls_finds_by_state_queue_and_task_and_counts_what_it_left_out(at_shop: Shell, waiting: str, dead: str) -> None:
    other = at_shop.run("submit", "shop:wait_elsewhere").out.strip()

    found = at_shop.run("ls", "--state", "dead", "--task", "shop.fail", "--json").json
    first = at_shop.run("ls", "--queue", "elsewhere", "--limit", "1", "--json")

    assert dead in [info["id"] for info in found]
    assert {(info["state"], info["task"]) for info in found} == {("dead", "shop.fail")}
    assert [info["id"] for info in first.json] == [other]
    assert first.err == "aioqueue: only the first 1 are shown; --all shows all\n"
    assert waiting in [info["id"] for info in at_shop.run("ls", "--all", "--json").json]


def test_a_limit_of_0_shows_none_as_in_python(at_shop: Shell, waiting: str) -> None:
    said = "aioqueue: only the first 0 are shown; --all shows all\n"

    assert at_shop.run("ls", "--limit", "0", "--json") == (0, "[]\n", said)
    assert len(at_shop.run("ls", "--limit", "0").out.splitlines()) == 1
    assert at_shop.run("export", "--limit", "0") == (0, "", "aioqueue: 0 jobs exported\n")
    assert "give --limit or --all, not both" in at_shop.run("ls", "--limit", "1", "--all").refused(2)


def test_ls_finds_by_time_id_and_error(at_shop: Shell, waiting: str, dead: str) -> None:
    def found(*options: str) -> set[str]:
        return {info["id"] for info in at_shop.run("ls", "--all", "--json", *options).json}

    assert {waiting, dead} <= found("--since", "10m")
    assert not {waiting, dead} & found("--until", "10m")
    assert not found("--since", "2100-01-01T00:00:00Z")
    assert found("--id", dead) == {dead}
    assert {waiting, dead} <= found("--id", dead[:2])
    assert dead in found("--error", "ValueError: no")
    assert dead not in found("--error", "no such thing")


@pytest.mark.parametrize(
    ("option", "value", "fragment"),
    [
        ("--since", "soon", "since='soon' cannot be used: a point of time is written like '2026-03-01T08:00:00Z'"),
        ("--since", "2026-13-01", "a point of time is written like '2026-03-01T08:00:00Z'"),
        ("--until", "2026-03-01", "until='2026-03-01' cannot be used: it has no time zone; write it like"),
        ("--id", "invoice-42", "the beginning of a job's id"),
        ("--error", "x" * 257, "at most 256 characters"),
    ],
)
def test_a_filter_that_cannot_be_is_one_sentence(at_shop: Shell, option: str, value: str, fragment: str) -> None:
    assert fragment in at_shop.run("ls", option, value).refused()


def test_ls_of_nothing_is_an_empty_list(at_shop: Shell) -> None:
    said = "aioqueue: no jobs in namespace default match these filters\n"
    assert at_shop.run("ls", "--queue", "never", "--json") == (0, "[]\n", said)
    empty = at_shop.run("ls", "--queue", "never")
    assert (len(empty.out.splitlines()), empty.err) == (1, said)
    assert at_shop.run("ls", "--namespace", "never").err == "aioqueue: no jobs in namespace never\n"
    assert at_shop.run("export", "--namespace", "never") == (0, "", "aioqueue: 0 jobs exported\n")


def test_jobs_of_another_namespace_are_not_seen(at_shop: Shell, waiting: str) -> None:
    assert at_shop.run("ls", "--namespace", "other", "--json").json == []


def test_show_tells_attempts_and_traceback_without_control_characters(at_shop: Shell, dead: str) -> None:
    told = at_shop.run("show", dead).out

    assert "state:     dead" in told
    assert "runs:      1 (1 failed, 0 crashed)" in told
    assert r"ValueError: no\x1b[2Jstock" in told
    assert "Traceback (most recent call last):" in told
    assert "\x1b" not in told


def test_show_lists_every_run_also_those_before_a_retry(at_shop: Shell) -> None:
    job_id = at_shop.run("submit", "shop:fail", "stock", "--wait", "--json").json["id"]
    at_shop.run("retry", job_id)
    while at_shop.run("show", job_id, "--json").json["state"] != "dead":
        pass

    runs = at_shop.run("show", job_id, "--json").json["history"]
    lines = at_shop.run("show", job_id).out.splitlines()

    assert [(run["generation"], run["run"], run["attempt"], run["outcome"]) for run in runs] == [
        (0, 1, 1, "failed"),
        (1, 1, 1, "failed"),
    ]
    assert all(run["started_ms"] <= run["ended_ms"] and run["failure"]["text"] == "stock" for run in runs)
    (head,) = [index for index, line in enumerate(lines) if line.startswith("RUN  ATTEMPT  STARTED")]
    assert "failed" in lines[head + 1]
    assert "ValueError: stock" in lines[head + 1]
    assert lines[head + 2] == "retried by hand (1):"


def test_show_as_json_has_the_attempts_as_objects(at_shop: Shell, dead: str) -> None:
    info = at_shop.run("show", dead, "--json").json

    assert info["id"] == dead
    assert info["failure"]["text"] == "no\x1b[2Jstock"
    (attempt,) = info["attempts"]
    assert (attempt["run"], attempt["outcome"], attempt["failure"]["type"]) == (1, "failed", "ValueError")


def test_show_has_the_result_of_a_success(at_shop: Shell) -> None:
    job_id = at_shop.run("submit", "shop:add", "1", "--wait", "--json").json["id"]

    assert at_shop.run("show", job_id, "--json").json["result"] == 2
    assert "result:    2" in at_shop.run("show", job_id).out


def test_a_cancelled_job_says_so_and_can_be_retried(at_shop: Shell, waiting: str) -> None:
    assert at_shop.run("cancel", waiting, "--reason", "mistake") == (0, "cancelled\n", "")
    assert at_shop.run("show", waiting, "--json").json["state"] == "cancelled"

    assert at_shop.run("retry", waiting, "--json").json == {"id": waiting, "outcome": "submitted"}
    info = at_shop.run("show", waiting, "--json").json
    assert (info["state"], info["generation"]) == ("ready", 1)


def test_a_job_that_had_ended_is_told_as_finished(at_shop: Shell, dead: str) -> None:
    assert at_shop.run("cancel", dead, "--json").json == {"id": dead, "outcome": "finished"}
    assert at_shop.run("cancel", dead, "--wait", "1s") == (0, "finished\n", "")
    assert "wait" in at_shop.run("cancel", dead, "--wait", "soon").refused()


def test_a_waiting_job_cannot_be_retried(at_shop: Shell, waiting: str) -> None:
    refused = at_shop.run("retry", waiting).refused()
    assert f"job {waiting} is ready; only a job that is over and did not succeed" in refused


def test_several_jobs_are_cancelled_and_retried_by_one_command(at_shop: Shell, waiting: str) -> None:
    other = at_shop.run("submit", "shop:wait_elsewhere").out.strip()

    ended = at_shop.run("cancel", waiting, other, "--reason", "mistake")
    assert ended == (0, f"{waiting} cancelled\n{other} cancelled\n", "")
    assert at_shop.run("show", other, "--json").json["note"] == "mistake"

    told = at_shop.run("retry", waiting, other, waiting, "--json")
    assert [json.loads(line) for line in told.out.splitlines()] == [
        {"id": waiting, "outcome": "submitted"},
        {"id": other, "outcome": "submitted"},
    ]


def test_an_id_that_is_refused_keeps_nobody_from_the_others(at_shop: Shell, waiting: str, dead: str) -> None:
    unknown = str(uuid.UUID(int=7))

    ended = at_shop.run("retry", unknown, waiting, dead)

    assert (ended.code, ended.out) == (1, f"{dead} submitted\n")
    first, second = ended.err.splitlines()
    assert first == f"aioqueue: no job {unknown} is known here"
    assert second.startswith(f"aioqueue: job {waiting} is ready; ")


@pytest.mark.parametrize("command", ["show", "cancel", "retry"])
@pytest.mark.parametrize("job_id", [str(uuid.UUID(int=7)), "nonsense"])
def test_an_unknown_id_is_one_sentence(at_shop: Shell, command: str, job_id: str) -> None:
    sentence = at_shop.run(command, job_id).refused()

    assert sentence.startswith("no job ")
    assert job_id in sentence


@pytest.mark.parametrize(
    ("url", "fragment"),
    [
        ("somewhere", "'somewhere' is not a broker's address: it has no scheme"),
        ("memory:", "the jobs of a memory: broker are only seen by its own program"),
        ("sqlite:gone.db", "gone.db is not an aioqueue journal: there is no such file"),
    ],
)
def test_a_wrong_url_is_one_sentence_and_makes_no_file(url: str, fragment: str, shell: Shell, folder: Path) -> None:
    before = set(folder.iterdir())

    assert fragment in shell.run("ls", "--url", url).refused()
    assert set(folder.iterdir()) == before


@pytest.mark.parametrize("option", ["--queue", "--task"])
def test_a_name_that_nothing_can_have_is_one_sentence(at_shop: Shell, option: str) -> None:
    assert "cannot name a " in at_shop.run("ls", option, "\udcff").refused()


def test_a_reason_that_does_not_fit_is_one_sentence(at_shop: Shell, waiting: str) -> None:
    for reason in ("x" * 5_000, "two\nlines"):
        assert (
            "it must be at most 4096 characters on one line"
            in at_shop.run("cancel", waiting, "--reason", reason).refused()
        )
    assert at_shop.run("show", waiting, "--json").json["state"] == "ready"


def test_a_state_that_there_is_not_is_one_sentence(at_shop: Shell) -> None:
    assert (
        "the option state='nope' cannot be used: it must be one of scheduled"
        in at_shop.run("ls", "--state", "nope").refused()
    )


def test_a_run_that_heeds_no_cancellation_is_shown_though_its_job_is_over() -> None:
    over = friendly(replace(INFO, state="cancelled", blocked=None, deaf_at=["worker-2", "worker-3"]))
    line = "deaf:      a run of it heeds no cancellation and still goes on, on worker-2, worker-3"
    assert line in list(described(over, (), {}, 0))
    assert not any(line.startswith("deaf") for line in described(friendly(replace(INFO, deaf_at=[])), (), {}, 0))


def test_arguments_are_shown_with_the_job_and_in_lists_where_they_are_asked_for(at_shop: Shell) -> None:
    words = ["--args", '["ada@example.com", {"b": [1]}]', "--kwargs", '{"card": "\\u001b[2J"}', "--queue", "elsewhere"]
    job_id = at_shop.run("submit", "shop.send", "--unregistered", *words).out.strip()
    line = r'["ada@example.com",{"b":[1]}] {"card":"\u001b[2J"}'

    assert f"args:      {line}\n" in at_shop.run("show", job_id).out
    info = at_shop.run("show", job_id, "--json").json
    assert (info["args"], info["kwargs"]) == (["ada@example.com", {"b": [1]}], {"card": "\x1b[2J"})
    assert info["args_bytes"] > 20
    heads, row = at_shop.run("ls", "--id", job_id, "--args").out.splitlines()
    assert heads.split()[-2:] == ["ARGS", "NOTE"]
    assert line in row
    plain_list = at_shop.run("ls", "--id", job_id)
    assert "ada@example.com" not in plain_list.out
    assert at_shop.run("ls", "--id", job_id, "--json").json[0]["args"] is None
    assert at_shop.run("ls", "--id", job_id, "--args", "--json").json[0]["kwargs"] == info["kwargs"]
    assert json.loads(at_shop.run("export", "--id", job_id).out)["args"] == info["args"]


def test_long_arguments_are_shortened_and_shown_in_full_where_that_is_asked_for(at_shop: Shell) -> None:
    long = "x" * 100_000
    job_id = at_shop.run(
        "submit", "shop.send", "--unregistered", "--args", json.dumps([long]), "--queue", "elsewhere"
    ).out.strip()

    (line,) = [line for line in at_shop.run("show", job_id).out.splitlines() if line.startswith("args:")]
    assert len(line) == 211
    assert line.endswith("x…")
    assert long in at_shop.run("show", job_id, "--args-full").out
    short = at_shop.run("show", job_id, "--json").json
    assert (short["args"], short["args_bytes"] > 100_000) == (None, True)
    assert at_shop.run("show", job_id, "--args-full", "--json").json["args"] == [long]

    assert "(97.7 KiB)" in at_shop.run("ls", "--id", job_id, "--args").out
    assert long in at_shop.run("ls", "--id", job_id, "--args-full").out
    assert json.loads(at_shop.run("export", "--id", job_id).out)["args"] is None
    assert json.loads(at_shop.run("export", "--id", job_id, "--args-full").out)["args"] == [long]


def test_arguments_of_a_success_are_not_kept_and_those_of_a_failure_are(at_shop: Shell, dead: str) -> None:
    done = at_shop.run("submit", "shop:add", "1", "--wait", "--json").json["id"]

    assert "args:" not in at_shop.run("show", done).out
    assert at_shop.run("show", done, "--json").json["args"] is None
    assert at_shop.run("show", dead, "--json").json["args"] == ["no\x1b[2Jstock"]
