"""What a shell completes: asked as bash, zsh and fish ask, and by the Tab key of a real bash."""

from __future__ import annotations

import contextlib
import io
import shutil
from pathlib import Path

import pytest

from tests.support.commands import COMMAND, ROOT, Served
from tests.support.shell import Shell
from tests.support.terminal import terminal_in


@pytest.fixture
def complete(at_shop: Shell, monkeypatch: pytest.MonkeyPatch) -> Completes:
    return Completes(at_shop, monkeypatch)


class Completes:
    """Asks what may follow these words."""

    def __init__(self, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        self._shell = shell
        self._monkeypatch = monkeypatch

    def after(self, *words: str) -> list[str]:
        self._monkeypatch.setenv("_AIOQUEUE_COMPLETE", "complete_bash")
        self._monkeypatch.setenv("COMP_WORDS", "\n".join(["aioqueue", *words]))
        self._monkeypatch.setenv("COMP_CWORD", str(len(words)))
        return self._told()

    def by_zsh(self, line: str) -> str:
        self._monkeypatch.setenv("_AIOQUEUE_COMPLETE", "complete_zsh")
        self._monkeypatch.setenv("_TYPER_COMPLETE_ARGS", line)
        return " ".join(self._told())

    def _told(self) -> list[str]:
        told = io.StringIO()
        with contextlib.redirect_stdout(told), pytest.raises(SystemExit):
            self._shell.run()
        self._monkeypatch.delenv("_AIOQUEUE_COMPLETE")
        # An empty line where nothing follows.
        return told.getvalue().split()


def test_states_and_levels_are_completed_without_a_broker(complete: Completes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOQUEUE_URL", "tcp://127.0.0.1:1")

    assert complete.after("ls", "--state", "s") == ["scheduled", "stopping", "succeeded"]
    assert complete.after("export", "--state", "") == [
        "scheduled", "blocked", "ready", "running", "stopping", "succeeded", "dead", "cancelled", "expired",
    ]  # fmt: skip
    assert complete.after("serve", "--log-level", "w") == ["warning"]
    assert complete.after("worker", "shop:queue", "--log-level", "cr") == ["critical"]


def test_queues_tasks_and_ids_are_those_that_the_broker_knows(complete: Completes, at_shop: Shell) -> None:
    job_id = at_shop.run("submit", "shop:wait_elsewhere").out.strip()
    dead = at_shop.run("submit", "shop:fail", "no", "--wait", "--json").json["id"]
    at_shop.run("submit", "shop:wait_elsewhere", "--id", "invoice-42")

    assert complete.after("ls", "--queue", "else") == ["elsewhere"]
    for words in (["ls", "--task"], ["submit"], ["tasks"]):
        assert complete.after(*words, "shop.w") == ["shop.wait_elsewhere"]
    # Registered by its worker, whether or not a job of it was ever submitted.
    assert "shop.add" in complete.after("submit", "shop.")
    assert job_id in complete.after("show", job_id[:8])
    assert complete.after("show", job_id) == [job_id]
    assert complete.after("ls", "--id", job_id) == [job_id]
    # An act is about jobs that it can be done to.
    assert (complete.after("cancel", job_id), complete.after("retry", job_id)) == ([job_id], [])
    assert (complete.after("cancel", dead), complete.after("retry", job_id, dead)) == ([], [dead])
    assert complete.after("show", "--queue", "elsewhere", "inv") == ["invoice-42"]
    assert complete.after("show", "nonsense") == []


def test_zsh_is_told_what_an_id_stands_for(complete: Completes, at_shop: Shell) -> None:
    job_id = at_shop.run("submit", "shop:wait_elsewhere").out.strip()

    told = complete.by_zsh(f"aioqueue show {job_id}")

    assert job_id in told
    assert "ready shop.wait_elsewhere" in told


def test_a_url_that_bash_took_apart_is_put_together(
    complete: Completes, shop: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOQUEUE_URL", "tcp://127.0.0.1:1")
    scheme, _, rest = shop.url.partition(":")
    host, _, port = rest.partition(":")
    url = [scheme, ":", host, ":", port]

    assert "default" in complete.after("ls", "--url", *url, "--queue", "")
    assert "default" in complete.after("ls", "--url", "=", *url, "--queue", "")


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:1", "nonsense", "sqlite:gone.db", "memory:"])
def test_a_broker_that_does_not_answer_completes_nothing(
    complete: Completes, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("aioqueue.cli.completing._SECONDS", 0.2)

    assert complete.after("ls", "--url", url, "--queue", "") == []
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux, which gives a terminal, is not installed")
def test_the_tab_key_of_a_real_bash_completes(shop: Served, at_shop: Shell, tmp_path: Path) -> None:
    job_id = at_shop.run("submit", "shop:wait_elsewhere").out.strip()
    program = tmp_path / "bin" / "aioqueue"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {" ".join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    with terminal_in(tmp_path) as terminal:
        terminal.start(f"PATH={program.parent}:$PATH PS1='$ ' bash --norc --noprofile -i", tmp_path)
        terminal.until(lambda screen: "$" in screen)
        terminal.type('eval "$(_AIOQUEUE_COMPLETE=source_bash aioqueue)"; clear; echo ready')
        terminal.until(lambda screen: screen.startswith("ready"))

        terminal.tmux("send-keys", "-l", "--", f"aioqueue ls --url {shop.url} --st")
        terminal.press("Tab")
        terminal.until(lambda screen: "--state" in screen)
        terminal.tmux("send-keys", "-l", "--", "de")
        terminal.press("Tab")
        terminal.until(lambda screen: "--state dead" in screen)
        terminal.tmux("send-keys", "-l", "--", "--queue else")
        terminal.press("Tab")
        terminal.until(lambda screen: "--queue elsewhere" in screen)
        terminal.press("C-u")
        terminal.tmux("send-keys", "-l", "--", f"aioqueue show --url {shop.url} {job_id[:-1]}")
        terminal.press("Tab")
        terminal.until(lambda screen: job_id in screen.replace("\n", ""))
