"""`aioqueue serve`: its ready line, its end, and everything that keeps it from beginning."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from aioqueue.cli import serving as serving_module
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec
from tests.support.commands import COMMAND, PATIENCE_SECONDS, environment, run, serving
from tests.support.shell import Shell


def test_the_ready_line_names_address_journal_and_jobs(folder: Path) -> None:
    with serving(folder) as served:
        served.run("submit", "shop.add", "[1]")
        served.stop()
    words = [*COMMAND, "serve", "--port", "0", "--journal", "sqlite:jobs.db"]
    with subprocess.Popen(words, cwd=folder, env=environment(), stdout=-1, stderr=-1, text=True) as again:
        assert again.stdout is not None
        line = again.stdout.readline()
        again.terminate()

    assert served.ready["journal"] == "sqlite:jobs.db"
    assert served.ready["url"] == f"tcp://127.0.0.1:{served.ready['port']}"
    assert (served.ready["host"], served.ready["jobs"]) == ("127.0.0.1", 0)
    assert served.ready["pid"] == served.process.pid
    assert line.startswith("listening on tcp://127.0.0.1:")
    assert line.endswith(", journal sqlite:jobs.db, 1 job\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_in_good_order_and_the_journal_is_whole(folder: Path, number: signal.Signals) -> None:
    with serving(folder) as served:
        job_id = served.run("submit", "shop.add", "[1]").out.strip()
        assert served.stop(number) == 0

    assert "Traceback" not in served.err
    assert run("check", "jobs.db", cwd=folder).code == 0
    assert [info["id"] for info in run("ls", "--json", "--url", "sqlite:jobs.db", cwd=folder).json] == [job_id]


def test_a_new_journal_is_told_of_by_its_whole_path_and_an_old_one_is_not(folder: Path) -> None:
    with serving(folder) as served:
        assert served.stop() == 0
    with serving(folder) as again:
        assert again.stop() == 0
    assert served.err.count(f"created a new journal at {folder / 'jobs.db'}") == 1
    assert "WARNING" in next(line for line in served.err.splitlines() if "created a new" in line)
    assert "created" not in again.err


def test_a_journal_that_must_exist_is_not_made(folder: Path) -> None:
    words = ("serve", "--port", "0", "--must-exist", "--journal")
    refused = run(*words, "sqlite:typo.db", cwd=folder).refused()
    assert refused == f"{folder / 'typo.db'} is not an aioqueue journal: there is no such file"
    assert not list(folder.glob("typo*"))
    (folder / "empty.db").touch()
    assert "it is empty" in run(*words, "sqlite:empty.db", cwd=folder).refused()
    with serving(folder) as served:
        served.stop()
    with serving(folder, "--must-exist") as served:
        assert served.stop() == 0


def test_a_memory_broker_is_not_asked_for_a_journal_that_exists(folder: Path) -> None:
    refused = run("serve", "--port", "0", "--must-exist", "--journal", "memory:", cwd=folder).refused()
    assert refused == "the option must-exist=True cannot be used: memory: has no journal that could be there"


def test_a_connected_client_is_told_before_the_broker_goes(folder: Path) -> None:
    with serving(folder) as served:
        waiting = subprocess.Popen(
            [*COMMAND, "top", "--json", "--url", served.url],
            cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with waiting:
            assert waiting.stdout is not None
            waiting.stdout.readline()
            assert served.stop() == 0
            waiting.send_signal(signal.SIGINT)
            waiting.communicate()
        assert waiting.returncode == 130


async def test_a_second_signal_ends_the_process_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    exits: list[int] = []
    ended = asyncio.Event()

    def end(code: int) -> None:
        exits.append(code)
        ended.set()

    monkeypatch.setattr(serving_module.os, "_exit", end)
    stopping = serving_module._Stopping()
    try:
        waiting = asyncio.create_task(stopping.wait())
        await asyncio.sleep(0)
        signal.raise_signal(signal.SIGTERM)
        await waiting
        assert exits == []
        signal.raise_signal(signal.SIGTERM)
        await ended.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)

    assert exits == [128 + signal.SIGTERM]


def test_a_taken_port_is_one_sentence_and_leaves_no_journal(tmp_path: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        sentence = run("serve", "--port", str(port), "--log-level", "error", cwd=tmp_path).refused()

    assert sentence.startswith(f"cannot listen on 127.0.0.1:{port}: ")
    assert "choose another --port" in sentence
    assert list(tmp_path.iterdir()) == []


def test_a_journal_in_use_names_its_owner(folder: Path) -> None:
    with serving(folder) as served:
        sentence = run("serve", "--port", "0", "--journal", "sqlite:jobs.db", cwd=folder).refused()

    assert f"belongs to process {served.process.pid}" in sentence


def test_a_damaged_journal_is_refused(folder: Path) -> None:
    _make_journal(folder)
    with closing(sqlite3.connect(folder / "jobs.db")) as database:
        database.execute("UPDATE batches SET data = zeroblob(length(data)) WHERE position = 1")
        database.commit()

    sentence = run("serve", "--port", "0", "--journal", "sqlite:jobs.db", "--log-level", "error", cwd=folder).refused()

    assert "jobs.db is damaged" in sentence
    assert "aioqueue check" in sentence


def test_a_journal_of_a_newer_version_is_refused_untouched(folder: Path) -> None:
    _make_journal(folder)
    with closing(sqlite3.connect(folder / "jobs.db")) as database:
        database.execute("PRAGMA user_version = 99")
    before = (folder / "jobs.db").read_bytes()

    sentence = run("serve", "--port", "0", "--journal", "sqlite:jobs.db", cwd=folder).refused()

    assert "was written by a newer aioqueue (format 99)" in sentence
    assert (folder / "jobs.db").read_bytes() == before


def test_a_file_that_is_no_journal_is_refused_untouched(folder: Path) -> None:
    sentence = run("serve", "--port", "0", "--journal", "sqlite:shop.py", cwd=folder).refused()

    assert "shop.py is not an aioqueue journal" in sentence


def test_a_journal_that_fails_later_ends_it_with_one_sentence_and_1(folder: Path) -> None:
    with serving(folder, "--log-level", "critical") as served:
        # From here on the system lets no file grow.
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        words = [*COMMAND, "submit", "shop.add", "[1]", "--url", served.url]
        with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
            code = served.process.wait(PATIENCE_SECONDS)
            client.kill()
            told = client.communicate()[0]

    assert code == 1
    assert told == b""
    assert "Traceback" not in served.err
    last = served.err.splitlines()[-1]
    assert last.startswith("aioqueue: ")
    assert "jobs.db" in last
    assert "disk I/O error" in last


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["--session-ttl", "10ms"], "the option session-ttl='10ms' cannot be used: it must be at least 300 ms"),
        (["--session-ttl", "soon"], "the option session-ttl='soon' cannot be used"),
        (["--journal", "tcp://127.0.0.1"], "it must be sqlite:PATH, or memory: to keep nothing"),
        (["--journal", "jobs.db"], "'jobs.db' cannot be used: write sqlite:jobs.db, or memory: to keep nothing"),
        (["--log-level", "loud"], "the option log-level='loud' cannot be used"),
    ],
)
def test_an_option_that_cannot_be_is_one_sentence(words: list[str], fragment: str, shell: Shell) -> None:
    assert fragment in shell.run("serve", "--port", "0", *words).refused()


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["--journal", "sqlite:no/such/folder/jobs.db"], "its directory does not exist"),
        (["--journal", "memory:", "--host", "no such host"], "cannot listen on no such host:0"),
    ],
)
def test_a_place_that_there_is_not_is_one_sentence(words: list[str], fragment: str, tmp_path: Path) -> None:
    assert fragment in run("serve", "--port", "0", "--log-level", "error", *words, cwd=tmp_path).refused()


def test_an_address_that_others_reach_is_warned_of(tmp_path: Path) -> None:
    with serving(tmp_path, "--host", "0.0.0.0", journal="memory:") as served:
        assert served.stop() == 0

    assert "aioqueue: warning: listening on 0.0.0.0: whoever reaches port" in served.err


def test_the_session_ttl_reaches_the_broker(tmp_path: Path) -> None:
    with serving(tmp_path, "--session-ttl", "700ms", journal="memory:") as served:
        ended = subprocess.run(
            [COMMAND[0], "-c", _ASK_TTL, served.url],
            env=environment(), capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS,
        )  # fmt: skip

    assert ended.stdout.strip() == "700"


_ASK_TTL = """
import asyncio, sys
from aioqueue.client.link import Link
from aioqueue.protocol.messages import Role
from aioqueue.transport.address import parse_address
from aioqueue.ground import Ground
from aioqueue.transport.dialer import Dialer

async def main():
    told = asyncio.get_running_loop().create_future()
    link = Link(
        Dialer([parse_address(sys.argv[1])]), ground=Ground(), role=Role.CLIENT, namespace="default", name="",
        secret=bytes(16), on_welcome=told.set_result, on_messages=list, on_lost=str,
    )
    running = asyncio.create_task(link.run())
    print((await told).session_ttl_ms)
    await link.aclose()
    await running

asyncio.run(main())
"""


def _make_journal(folder: Path) -> None:
    with serving(folder) as served:
        served.run("submit", "shop.add", "[1]")
        assert served.stop() == 0
    assert os.path.getsize(folder / "jobs.db") > 0


@pytest.mark.parametrize(
    ("option", "size"), [("max-backlog-bytes", "3MiB"), ("max-backlog-bytes", "much"), ("body-cache", "3MiB")]
)
def test_a_size_that_cannot_be_is_refused_at_once(folder: Path, option: str, size: str) -> None:
    sentence = run("serve", f"--{option}", size, cwd=folder).refused()

    assert option in sentence


@pytest.mark.parametrize("size", ["100KiB", "much"])
def test_a_journal_bound_that_cannot_be_is_refused_at_once(folder: Path, size: str) -> None:
    assert "journal-bound" in run("serve", "--journal-bound", size, cwd=folder).refused()


def test_a_full_broker_tells_whoever_submits_what_to_do(folder: Path) -> None:
    with serving(folder, "--max-backlog-jobs", "1") as served:
        served.run("submit", "shop.add", "[1]")
        # After a note that nobody has registered the task.
        refused = served.run("submit", "shop.add", "[1]")

    assert (refused.code, refused.out) == (1, "")
    sentence = refused.err.splitlines()[-1]
    assert "the broker holds 1 jobs" in sentence
    assert "--max-backlog-jobs" in sentence


def test_a_disk_reserve_that_no_disk_has_refuses_jobs_and_leaves_no_file_behind(folder: Path) -> None:
    with serving(folder, "--disk-reserve", "900TiB") as served:
        # After a note that nobody has registered the task.
        refused = served.run("submit", "shop.add", "[1]")
        assert served.stop() == 0

    assert (refused.code, refused.out) == (1, "")
    assert "bytes are free on the disk of jobs.db" in refused.err.splitlines()[-1]
    assert not (folder / "jobs.db.reserve").exists()


def say_hello(port: int) -> tuple[socket.socket, object]:
    """A connection that said Hello, and what it was told; None if it was closed without a word."""
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
    try:
        connection.sendall(Codec().encode(m.Hello(1, 1, m.Role.CLIENT, os.urandom(16))))
        frame = connection.recv(4_096)
    except ConnectionError:
        frame = b""
    return connection, Codec().decode_broker(frame[4:]) if frame else None


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of open files")
def test_where_no_more_files_can_be_opened_new_connections_are_told_and_others_go_on(folder: Path) -> None:
    # Nobody's silence makes room here, however long all of it takes.
    with ExitStack() as stack, serving(folder, "--session-ttl", "10m", files=100) as served:
        port = served.ready["port"]
        first, welcome = say_hello(port)
        told = [say_hello(port) for _ in range(60)]
        # A crowd at once, more than there are files, before the broker has looked at one of them.
        crowd = [socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) for _ in range(200)]
        for connection in (first, *crowd, *(each for each, _ in told)):
            stack.callback(connection.close)
        assert isinstance(welcome, m.Welcome)
        assert 30 < sum(isinstance(message, m.Welcome) for _, message in told) < 40
        refused = [message for _, message in told if isinstance(message, m.Refusal)]
        assert {refusal.code for refusal in refused} == {"too_many_connections"}
        # Those that stand go on, and one that leaves makes room.
        first.sendall(Codec().encode(m.Ping(7)))
        assert Codec().decode_broker(first.recv(4_096)[4:]) == m.Pong(7)
        first.close()
        again: object = None
        while not isinstance(again, m.Welcome):
            connection, again = say_hello(port)
            connection.close()
        assert "Traceback" not in served.err
        assert served.err.count("connections already") == 1
