"""One broker with a worker for all tests that only talk to it, and a folder with an app for each test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import SHOP, Served, serving, working
from tests.support.shell import Shell


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A broker whose worker runs the lane `default` of the app `shop`."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(SHOP)
    with serving(folder) as served, working(served):
        yield served


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A current directory with the app, and no broker."""
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


@pytest.fixture
def shell(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    """A shell in a folder with the app; the environment names no broker."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("AIOQUEUE_URL", raising=False)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    loaded = set(sys.modules)
    yield Shell(capsys)
    for name in set(sys.modules) - loaded:
        if getattr(sys.modules[name], "__file__", None) and Path(str(sys.modules[name].__file__)).parent == folder:
            del sys.modules[name]


@pytest.fixture
def at_shop(shell: Shell, shop: Served, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A shell whose environment names the shared broker."""
    monkeypatch.setenv("AIOQUEUE_URL", shop.url)
    return shell
