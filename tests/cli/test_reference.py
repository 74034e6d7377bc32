"""docs/reference/cli.md says what the command line does: every command, option and JSON field, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer

from aioqueue.cli.app import app
from aioqueue.cli.salvaging import SalvageReport
from aioqueue.client.info import JobInfo
from aioqueue.journal.check import CheckReport
from aioqueue.model.views import (
    AdmissionStatistics,
    Attempt,
    Failure,
    QueueStatistics,
    RecentFailure,
    RunningJob,
    Statistics,
    WorkerStatistics,
)

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text()
SECTIONS = dict(re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_every_command_has_its_section_and_every_section_its_command() -> None:
    assert sorted(SECTIONS) == sorted(COMMANDS)
    assert re.findall(r"^\| \[`(\w+)`\]", PAGE, re.MULTILINE) == list(SECTIONS)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_option_stands_in_its_section_and_no_other_does(command: str) -> None:
    known = {name for parameter in COMMANDS[command].params for name in parameter.opts if name.startswith("--")}
    examples = "".join(re.findall(r"```.*?```", SECTIONS[command], re.DOTALL))
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", SECTIONS[command].replace(examples, "")))

    assert told == known - {"--help"}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_has_a_word_for_every_value_and_no_type(command: str) -> None:
    valued = [parameter for parameter in COMMANDS[command].params if not getattr(parameter, "is_flag", False)]

    assert [parameter.name for parameter in valued if not parameter.metavar] == []
    assert all("lane" not in (getattr(parameter, "help", None) or "") for parameter in valued)


@pytest.mark.parametrize(
    ("command", "record"),
    [
        ("show", JobInfo),
        ("show", Attempt),
        ("show", Failure),
        ("top", Statistics),
        ("top", QueueStatistics),
        ("top", WorkerStatistics),
        ("top", RunningJob),
        ("top", RecentFailure),
        ("top", AdmissionStatistics),
        ("check", CheckReport),
        ("check", SalvageReport),
    ],
)
def test_every_field_of_the_json_is_documented(command: str, record: type[msgspec.Struct]) -> None:
    told = set(re.findall(r"`(\w+)`", SECTIONS[command]))

    assert set(record.__struct_fields__) - told == set()
