"""One life of a broker from a shell: every command as a process of its own, every answer a document."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from aioqueue.model.version import VERSION
from tests.support.commands import COMMAND, PATIENCE_SECONDS, Served, environment, run, serving


def test_a_job_is_submitted_listed_shown_cancelled_and_retried_and_the_journal_is_whole(folder: Path) -> None:
    with serving(folder) as served:
        job_id = served.run("submit", "shop.send", '["a", 1]', "--json").json["id"]
        assert [info["id"] for info in served.run("ls", "--json").json] == [job_id]
        assert served.run("cancel", job_id, "--json").json == {"id": job_id, "outcome": "cancelled"}
        assert served.run("retry", job_id, "--json").json == {"id": job_id, "outcome": "submitted"}
        assert served.run("show", job_id, "--json").json["state"] == "ready"
        assert f"belongs to process {served.process.pid}" in served.run("check", "jobs.db").refused()
        assert served.run("top", "--once", "--json").json["queues"][0]["ready"] == 1
        assert served.stop() == 0

    checked = run("check", "jobs.db", "--json", cwd=folder)
    assert (checked.code, checked.json["ok"], checked.json["jobs"]) == (0, True, 1)


def test_a_worker_process_runs_a_job_whose_result_is_waited_for(shop: Served) -> None:
    assert shop.run("submit", "shop:add", "20", "22", "--wait") == (0, "42\n", "")


def test_the_exit_code_of_a_failed_job_is_3(shop: Served) -> None:
    assert shop.run("submit", "shop:fail", "no stock", "--wait").code == 3


def test_without_a_broker_there_is_one_sentence_and_exit_code_1(folder: Path) -> None:
    assert run("ls", "--url", "tcp://127.0.0.1:1", cwd=folder).refused() == (
        "no broker answers at tcp://127.0.0.1:1: connection refused"
    )


def test_a_reader_that_goes_away_is_no_error_to_speak_of(shop: Served) -> None:
    with subprocess.Popen(
        [*COMMAND, "top", "--json", "--url", shop.url],
        cwd=shop.cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE_SECONDS) == 141
        assert process.stderr.read() == b""


def test_an_output_that_takes_nothing_more_is_one_sentence() -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*COMMAND, "--version"], env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert (ended.returncode, ended.stderr) == (1, "aioqueue: No space left on device\n")


def test_closed_outputs_are_no_defect() -> None:
    ended = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.join([*COMMAND, '--version'])} >&- 2>&-"], env=environment(), check=False
    )

    assert ended.returncode == 0


def test_an_interrupt_ends_a_command_with_130_and_no_word(shop: Served) -> None:
    with subprocess.Popen(
        [*COMMAND, "top", "--json", "--url", shop.url],
        cwd=shop.cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 130
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("target", "fragment"),
    [
        ("nowhere:queue", "cannot load 'nowhere:queue': there is no module 'nowhere'"),
        ("shop:gone", "module shop has no 'gone'; it has queue"),
        ("shop", "it is not of the form MODULE:QUEUE"),
    ],
)
def test_a_worker_whose_app_cannot_be_found_is_one_sentence(target: str, fragment: str, folder: Path) -> None:
    # In development mode Python would tell of whatever is left open.
    ended = run("worker", target, "--log-level", "critical", cwd=folder, PYTHONDEVMODE="1")

    assert fragment in ended.refused()


def test_a_worker_whose_app_names_no_broker_is_told_how_to_name_one(folder: Path) -> None:
    assert run("worker", "shop:queue", cwd=folder).refused().startswith("no broker is named: write Queue(")


def test_a_worker_goes_where_the_code_says_and_tells_that_the_environment_says_otherwise(
    shop: Served, folder: Path
) -> None:
    (folder / "fixed.py").write_text("from aioqueue import Queue\nqueue = Queue('memory:')\n")
    ended = run("worker", "fixed:queue", cwd=folder, AIOQUEUE_URL=shop.url)
    assert ended.code == 1
    warning, refusal = ended.err.splitlines()
    assert "AIOQUEUE_URL is not used, because the code names another broker, memory:" in warning
    assert refusal.startswith("aioqueue: 'memory:' cannot be used here")


def test_the_worker_ends_with_0_when_it_is_told_to_stop(shop: Served) -> None:
    words = ["worker", "shop:queue", "--url", shop.url, "--queues", "spare", "--grace", "1s"]
    with subprocess.Popen([*COMMAND, *words], cwd=shop.cwd, env=environment(), stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        while b"is ready" not in (line := process.stderr.readline()):
            assert line, "the worker ended"
        process.terminate()
        process.stderr.read()
        assert process.wait(PATIENCE_SECONDS) == 0


TALKER = """
import logging
from aioqueue import Context, Queue, Retry

queue = Queue()


@queue.task(retry=Retry(2, "constant", base=0.1, jitter=False))
async def charge(context: Context) -> None:
    context.log.info("trying")
    logging.getLogger("shop").info("a card")
    raise ValueError("no funds")
"""
LINE = re.compile(r"^\S+Z (\w+) ([\w.]+)\[(\d+)\]: (.*)$")


def test_broker_supervisor_and_worker_log_one_format_and_say_what_follows_a_failure(tmp_path: Path) -> None:
    (tmp_path / "talker.py").write_text(TALKER)
    with serving(tmp_path) as served:
        words = ["worker", "talker:queue", "--url", served.url, "--queues", "default,mail", "--processes", "2"]
        with (tmp_path / "worker.err").open("w") as stderr:
            process = subprocess.Popen([*COMMAND, *words], cwd=tmp_path, env=environment(), stderr=stderr)
        with process:
            ended = served.run("submit", "talker:charge", "--wait", "--json")
            process.terminate()
            assert process.wait(PATIENCE_SECONDS) == 0
        job = ended.json["id"]
        assert served.stop() == 0
        of_broker = [LINE.fullmatch(line) for line in served.err.splitlines()]
    of_worker = [LINE.fullmatch(line) for line in (tmp_path / "worker.err").read_text().splitlines()]

    assert None not in of_worker
    assert None not in of_broker
    told = [(found[1], found[2].removeprefix("aioqueue."), found[4]) for found in of_worker if found is not None]
    texts = [text for _, _, text in told]
    assert texts[0] == (
        f"aioqueue {VERSION}, worker of talker:queue at {served.url}: queues default, mail; task talker.charge; "
        "100 jobs at once in each of 2 processes"
    )
    assert texts[-1] == "stopped"
    assert sum("worker of talker:queue" in text for text in texts) == 1
    failed = f"job {job} of task talker.charge"
    about = [(level, name, text) for level, name, text in told if "talker.charge" in text or "card" in text]
    assert [line for line in about[1:] if "failed" not in line[2]] == [
        ("INFO", "job", f"talker.charge {job}: trying"),
        ("INFO", "shop", "a card"),
        ("INFO", "worker.settles", f"{failed}: again in 0.1 s, attempt 2 of 2"),
        ("INFO", "job", f"talker.charge {job}: trying"),
        ("INFO", "shop", "a card"),
        ("WARNING", "worker.settles", f"{failed}: dead: out of attempts (2 of 2)"),
    ]
    # In the processes themselves, and nothing by both of them.
    assert len({found[3] for found in of_worker if found is not None}) >= 3
    tells = [(found[1], found[4]) for found in of_broker if found is not None and "talker.charge" in found[4]]
    assert [(level, text.rpartition("; ")[2]) for level, text in tells] == [
        ("INFO", "again in 0.1 s, attempt 2 of 2"),
        ("WARNING", "dead: out of attempts (2 of 2)"),
    ]
    assert of_broker[-1] is not None
    assert of_broker[-1][4] == "stopped"
