"""Finding an app's queue, and saying clearly why there is none."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aioqueue import Queue
from aioqueue.errors import AppNotFound
from aioqueue.worker.loading import load_queue

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module into the current directory; all of them are forgotten after the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)

    def write(name: str, text: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    yield write
    for name in set(sys.modules) - known:
        del sys.modules[name]


APP = "from aioqueue import Queue\nqueue = Queue('tcp://localhost:1')\nnumber = 7\n"


def reason(target: str) -> str:
    with pytest.raises(AppNotFound) as caught:
        load_queue(target)
    assert str(caught.value).startswith(f"cannot load {target!r}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_queue_is_found_in_a_module_of_the_current_directory(write: Write) -> None:
    write("shop_a.py", APP)
    assert load_queue("shop_a:queue").url == "tcp://localhost:1"


def test_a_queue_is_found_in_a_package_and_behind_a_name(write: Write) -> None:
    write("store/__init__.py", "")
    write("store/jobs.py", APP + "class inner:\n    queue = queue\n")
    assert load_queue("store.jobs:inner.queue") is load_queue("store.jobs:queue")


@pytest.mark.parametrize("target", ["shop", "shop:", ":queue", ""])
def test_a_target_needs_both_parts(target: str) -> None:
    assert "MODULE:QUEUE" in reason(target)


def test_a_module_that_is_not_there_is_named_with_the_place_that_was_looked_at(write: Write, tmp_path: Path) -> None:
    assert f"there is no module 'nowhere' in {tmp_path}" in reason("nowhere.jobs:queue")


def test_a_module_that_the_app_misses_is_not_confused_with_the_app(write: Write) -> None:
    write("shop_b.py", "import lib_that_is_missing\n")
    told = reason("shop_b:queue")
    assert "ModuleNotFoundError: No module named 'lib_that_is_missing'" in told
    assert "shop_b.py line 1" in told


def test_an_error_of_the_app_is_told_with_its_place(write: Write) -> None:
    write("shop_c.py", "def broken():\n    return 1 / 0\n\nbroken()\n")
    told = reason("shop_c:queue")
    assert "importing shop_c failed with ZeroDivisionError: division by zero" in told
    assert "shop_c.py line 2, called from" in told
    assert "shop_c.py line 4" in told


def test_a_syntax_error_is_told_with_its_place(write: Write) -> None:
    write("shop_d.py", "x = 1\ndef (:\n")
    assert "shop_d.py line 2" in reason("shop_d:queue")


def test_an_app_that_exits_when_it_is_imported_is_told_of(write: Write) -> None:
    write("shop_e.py", "import sys\nsys.exit('not like this')\n")
    assert "SystemExit: not like this" in reason("shop_e:queue")


def test_a_name_that_is_not_there_is_told_with_those_that_are(write: Write) -> None:
    write("shop_f.py", APP)
    assert reason("shop_f:q").endswith("module shop_f has no 'q'; it has queue")


def test_a_name_that_is_no_queue_is_told_what_it_is(write: Write) -> None:
    write("shop_g.py", APP)
    assert "it is a int, not a Queue" in reason("shop_g:number")


def test_a_module_that_runs_its_program_when_it_is_imported_is_told_where_to_put_that(write: Write) -> None:
    write("shop_h.py", f"import asyncio\n{APP}async def main():\n    async with queue: ...\nasyncio.run(main())\n")
    told = reason("shop_h:queue")
    assert 'the aioqueue command imports this program; let it begin under `if __name__ == "__main__":`' in told
    # The app's own lines, and no frames of ours or of asyncio.
    assert re.fullmatch(r".* \(\S+shop_h.py line 6, called from \S+shop_h.py line 7\)", told)


async def test_a_queue_may_be_entered_after_an_import_that_failed(write: Write) -> None:
    write("shop_i.py", "1 / 0\n")
    reason("shop_i:queue")
    async with Queue("memory:"):
        pass
