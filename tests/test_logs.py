"""The log of programs: one format, and an app's own logging before it."""

from __future__ import annotations

import logging
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from aioqueue.logs import LineFormatter
from tests.support.commands import PATIENCE_SECONDS, environment


def record(level: int, text: str, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error is not None else None
    made = logging.LogRecord("aioqueue.broker", level, __file__, 1, text, arguments, info)
    made.created, made.msecs, made.process = 1_700_000_000.25, 250.0, 8203
    return made


def test_a_record_is_one_line_with_utc_time_level_origin_and_process() -> None:
    line = LineFormatter().format(record(logging.WARNING, "peer said %s", "\x1b[2J\nx\u202e"))

    assert line == r"2023-11-14T22:13:20.250Z WARNING aioqueue.broker[8203]: peer said \x1b[2J\nx\u202e"


def test_a_traceback_follows_and_no_line_of_it_can_look_like_a_record() -> None:
    try:
        raise ValueError("two\n2023-11-14T22:13:20.250Z INFO shop[1]: lies \x1b[2J")
    except ValueError as error:
        lines = LineFormatter().format(record(logging.ERROR, "it failed", error=error)).split("\n")

    assert lines[0] == "2023-11-14T22:13:20.250Z ERROR aioqueue.broker[8203]: it failed"
    assert lines[1] == "  Traceback (most recent call last):"
    assert lines[-1] == r"  2023-11-14T22:13:20.250Z INFO shop[1]: lies \x1b[2J"


PROGRAM = """
import logging, logging.config, sys
from aioqueue.logs import log_early, log_to_stderr

logging.getLogger("aioqueue.worker")
log_early()
{before}
log_to_stderr({level!r}, ["shop"])
{after}


def log_by(name, path):
    code = "import logging\\nlogger = logging.getLogger(name)\\nlogger.info('news')\\nlogger.warning('a warning')"
    exec(compile(code, path, "exec"), {{"name": name}})


log_by("aioqueue.worker", "/elsewhere/aioqueue/worker.py")
log_by("shop.jobs", {installed!r} + "/shop/jobs.py")
log_by("helpers", "/app/helpers.py")
log_by("client", {installed!r} + "/client/http.py")
logging.getLogger("quiet").addHandler(logging.NullHandler())
log_by("quiet", {installed!r} + "/quiet/api.py")
"""
INSTALLED = sysconfig.get_paths()["purelib"]


def logged(folder: Path, before: str = "", after: str = "", level: str = "info") -> list[str]:
    """What a program logs, each as `LEVEL logger`, or whole where it is in another format."""
    program = PROGRAM.format(before=before, after=after, level=level, installed=INSTALLED)
    (folder / "program.py").write_text(program)
    ended = subprocess.run(
        [sys.executable, "program.py"], cwd=folder, env=environment(), capture_output=True, text=True,
        timeout=PATIENCE_SECONDS, check=True,
    )  # fmt: skip
    lines = []
    for line in ended.stderr.splitlines():
        words = line.split()
        ours = len(words) > 2 and words[0].endswith("Z") and words[2].endswith("]:")
        lines.append(f"{words[1]} {words[2].partition('[')[0]}" if ours else line)
    return lines


USUAL = [
    "INFO aioqueue.worker",
    "WARNING aioqueue.worker",
    "INFO shop.jobs",
    "WARNING shop.jobs",
    "INFO helpers",
    "WARNING helpers",
    "WARNING client",
    "WARNING quiet",
]


def test_the_apps_own_lines_are_shown_and_of_other_packages_warnings_only(tmp_path: Path) -> None:
    assert logged(tmp_path) == USUAL
    assert logged(tmp_path, level="debug").count("INFO client") == 1
    assert logged(tmp_path, level="error") == []


def test_what_is_logged_while_the_app_is_loaded_looks_like_the_rest(tmp_path: Path) -> None:
    assert logged(tmp_path, before="logging.getLogger('shop').warning('no key')") == ["WARNING shop", *USUAL]


def test_an_app_that_sets_up_logging_keeps_it(tmp_path: Path) -> None:
    own = "logging.basicConfig(level='INFO', format='own: %(name)s %(levelname)s')"

    lines = logged(tmp_path, before=own)

    assert len(lines) == 10
    assert all(line.startswith("own: ") for line in lines)


@pytest.mark.parametrize("later", [False, True])
def test_no_line_is_written_twice_where_the_app_has_handlers_of_its_own(tmp_path: Path, later: bool) -> None:
    own = (
        "handler = logging.StreamHandler(sys.stderr)\n"
        "handler.setFormatter(logging.Formatter('own: %(name)s %(levelname)s'))\n"
        "logging.getLogger('shop').addHandler(handler)"
    )

    lines = logged(tmp_path, after=own) if later else logged(tmp_path, before=own)

    assert lines == [line if "shop" not in line else f"own: shop.jobs {line.split()[0]}" for line in USUAL]


def test_a_root_handler_that_comes_later_takes_over(tmp_path: Path) -> None:
    own = (
        "handler = logging.StreamHandler(sys.stderr)\n"
        "handler.setFormatter(logging.Formatter('own: %(name)s'))\n"
        "logging.getLogger().addHandler(handler)"
    )

    lines = logged(tmp_path, after=own)

    assert len(lines) == 10
    assert set(lines) == {f"own: {name}" for name in ("aioqueue.worker", "shop.jobs", "helpers", "client", "quiet")}


def test_a_configuration_that_silences_what_was_there_does_not_silence_the_worker(tmp_path: Path) -> None:
    own = (
        "logging.config.dictConfig({'version': 1, 'handlers': {'err': {'class': 'logging.StreamHandler'}}, "
        "'root': {'handlers': ['err'], 'level': 'INFO'}})"
    )

    assert logged(tmp_path, before=own).count("a warning") == 5
