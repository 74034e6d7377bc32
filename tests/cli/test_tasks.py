"""`aioqueue tasks`, and `aioqueue submit` by a name: what workers have registered is shown, and gone by."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from aioqueue.model.ids import own_id
from tests.support.commands import Served, serving
from tests.support.shell import Shell

NAMES = ["shop.add", "shop.fail", "shop.wait_elsewhere"]


@pytest.fixture
def registered(at_shop: Shell) -> Shell:
    """The shared broker, which its worker has told of its tasks."""
    while len(at_shop.run("tasks", "--json").json) < len(NAMES):
        time.sleep(0.05)
    return at_shop


def test_the_registered_tasks_are_listed_with_what_they_declare(registered: Shell) -> None:
    code, out, err = registered.run("tasks")
    heads, *rows = out.splitlines()
    assert (code, err) == (0, "")
    assert heads.split() == ["TASK", "QUEUE", "PRIORITY", "ATTEMPTS", "TIMEOUT", "SEEN", "PARAMETERS"]
    assert [row.split()[:4] for row in rows] == [
        ["shop.add", "default", "5", "5"],
        ["shop.fail", "default", "5", "1"],
        ["shop.wait_elsewhere", "elsewhere", "5", "5"],
    ]
    assert rows[0].endswith("ago  (a: int, b: int = ...) -> int")


def test_the_list_is_told_to_programs_as_json(registered: Shell) -> None:
    [add] = registered.run("tasks", "shop.add", "--json").json
    assert (add["name"], add["queue"], add["retry"]["attempts"], add["returns"]) == ("shop.add", "default", 5, "int")
    assert [(each["name"], each["kind"], each["required"]) for each in add["parameters"]] == [
        ("a", "int", True),
        ("b", "int", False),
    ]
    assert add["used_ms"] > 0


def test_a_name_that_is_not_registered_is_said_and_exits_with_1(registered: Shell) -> None:
    ended = registered.run("tasks", "shop.add", "shop.sub")
    assert (ended.code, ended.err) == (1, "aioqueue: not registered in namespace default: shop.sub\n")
    assert "shop.add" in ended.out


def test_an_empty_registry_is_said(registered: Shell) -> None:
    ended = registered.run("tasks", "--namespace", "nobodys")
    assert ended == (0, "", "aioqueue: no worker has registered a task in namespace nobodys\n")


def test_a_submit_by_name_goes_by_what_the_task_declares(registered: Shell, folder: Path) -> None:
    (folder / "shop.py").unlink()
    failed = registered.run("submit", "shop.fail", "no stock", "--wait", "--json")
    info = registered.run("show", failed.json["id"], "--json").json
    assert (failed.code, info["state"], info["failures"]) == (3, "dead", 1)
    waiting = registered.run("submit", "shop.wait_elsewhere", "--id", "order-42").out.strip()
    assert registered.run("show", waiting, "--json").json["queue"] == "elsewhere"
    assert waiting.replace("-", "") == own_id("default", "elsewhere", "order-42").hex()


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (("shop.ad", "1"), "no task 'shop.ad' is registered in namespace default; did you mean shop.add"),
        (("add", "1"), "did you mean shop.add?"),
        (("shop.add",), "missing a required argument: 'a'; it is shop.add(a: int, b: int = ...)"),
        (("shop.add", "1", "2", "3"), "too many positional arguments"),
        (("shop:add", "1", "--unregistered"), "--unregistered is for a task that is given by its name alone"),
    ],
)
def test_what_cannot_be_submitted_by_name_is_one_sentence(
    words: tuple[str, ...], fragment: str, registered: Shell
) -> None:
    before = len(registered.run("ls", "--all", "--json").json)
    ended = registered.run("submit", *words)
    assert ended.code in {1, 2}
    assert fragment in ended.err
    assert (ended.out, len(ended.err.splitlines())) == ("", 1)
    assert len(registered.run("ls", "--all", "--json").json) == before


def test_a_name_that_is_not_registered_is_submitted_where_that_is_said(registered: Shell) -> None:
    ended = registered.run("submit", "shop.later", "1", "--unregistered", "--queue", "later")
    assert (ended.code, ended.err) == (0, "")
    info = registered.run("show", ended.out.strip(), "--json").json
    assert (info["task"], info["state"]) == ("shop.later", "ready")


def test_a_name_is_submitted_and_that_is_said_while_nothing_is_registered(
    shell: Shell, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: Served
    with serving(folder) as served:
        monkeypatch.setenv("AIOQUEUE_URL", served.url)
        ended = shell.run("submit", "shop.add", "1")
    assert ended.code == 0
    assert ended.err == (
        "aioqueue: no worker has registered a task in namespace default yet: shop.add is submitted with the default "
        "options, and its arguments are not checked\n"
    )
