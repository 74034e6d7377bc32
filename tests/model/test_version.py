from __future__ import annotations

import tomllib
from pathlib import Path

import aioqueue
from aioqueue.model.version import VERSION

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_the_version_that_is_told_is_the_one_that_is_released() -> None:
    released = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["version"]
    assert (VERSION, aioqueue.__version__) == (released, released)
