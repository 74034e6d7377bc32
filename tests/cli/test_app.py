"""The command line itself: help, version, misuse, and how each kind of end becomes an exit code."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys

import pytest

from aioqueue import __version__
from aioqueue.cli import app as app_module
from aioqueue.cli.app import run
from aioqueue.cli.outcome import say
from tests.support.commands import environment
from tests.support.shell import Shell


def test_help_names_every_command_and_loads_no_broker() -> None:
    program = (
        "import sys; from aioqueue.cli.app import run; run(['--help']); "
        "print(sorted({'sqlite3', 'aiosqlite', 'rich.console', 'uvloop', 'aioqueue.broker'} & set(sys.modules)))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True
    )

    lines = ended.stdout.splitlines()
    for command in ("serve", "worker", "submit", "ls", "show", "cancel", "retry", "top", "check"):
        assert any(line.strip().startswith(f"{command} ") for line in lines)
    assert lines[-1] == "[]"


def test_without_a_command_the_help_is_shown(shell: Shell) -> None:
    assert shell.run() == shell.run("--help")


def test_the_version_is_printed(shell: Shell) -> None:
    assert shell.run("--version") == (0, f"aioqueue {__version__}\n", "")


def test_a_shell_that_asks_what_may_follow_is_told(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_AIOQUEUE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "aioqueue ls --s")
    monkeypatch.setenv("COMP_CWORD", "2")
    told = io.StringIO()
    with contextlib.redirect_stdout(told), pytest.raises(SystemExit):
        shell.run()
    assert told.getvalue().split() == ["--state", "--since"]


def test_without_a_broker_at_the_usual_address_the_sentence_says_how_to_start_one(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "DEFAULT_URL", "tcp://127.0.0.1:1")
    monkeypatch.setattr("aioqueue.client.connecting.CONNECT_SECONDS", 0.5)
    sentence = shell.run("ls", "--url", "tcp://127.0.0.1:1").refused()
    assert sentence.endswith("connection refused; start one with `aioqueue serve`, or name another by --url")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nope"], "no such command 'nope'; see aioqueue --help"),
        (["ls", "--xyzzy"], "no such option: --xyzzy; see aioqueue ls --help"),
        (["show"], "missing argument 'ID'; see aioqueue show --help"),
        (["show", "a", "b"], "got unexpected extra argument"),
        (["ls", "--limit", "many"], "invalid value for '--limit'"),
        (["serve", "--port", "70000"], "invalid value for '--port'"),
        (["worker", "shop:queue", "--processes", "0"], "invalid value for '--processes'"),
        (["submit", "shop:add", "--args", "["], "invalid value: --args is not JSON"),
        (["submit", "shop:add", "1", "--timeout", "3"], "invalid value: --timeout needs --wait"),
    ],
)
def test_misuse_is_one_sentence_that_leads_to_the_help(words: list[str], sentence: str, shell: Shell) -> None:
    told = shell.run(*words).refused(2)

    assert told.startswith(sentence)
    assert told.endswith("--help")


def test_an_interrupt_inside_a_command_is_130(monkeypatch: pytest.MonkeyPatch, shell: Shell) -> None:
    def interrupted(app: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(app_module.typer.main, "get_command", interrupted)

    assert shell.run("ls") == (130, "", "")


def test_a_defect_is_not_hidden_behind_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def defective(app: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(app_module.typer.main, "get_command", defective)

    with pytest.raises(ZeroDivisionError):
        run(["ls"])


def test_a_sentence_stays_on_one_line_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    say("first\nsecond \x1b[2J")

    assert capsys.readouterr().err == "aioqueue: first\\nsecond \\x1b[2J\n"
