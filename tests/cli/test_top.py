"""`aioqueue top` without a terminal: one picture, one document, or a stream of them."""

from __future__ import annotations

import json
import re
import subprocess

from tests.support.commands import COMMAND, Served, environment
from tests.support.shell import Shell


def test_without_a_terminal_one_picture_with_rates_is_printed(at_shop: Shell) -> None:
    at_shop.run("submit", "shop:wait_elsewhere")
    ended = at_shop.run("top")

    assert (ended.code, ended.err) == (0, "")
    (line,) = [line.split() for line in ended.out.splitlines() if line.startswith("elsewhere")]
    assert int(line[1]) >= 1
    assert "-" not in line
    window = re.search(r"^Queues .*rates over (\d+\.\d) s$", ended.out, re.MULTILINE)
    assert window is not None
    assert float(window[1]) >= 0.9
    assert "\x1b" not in ended.out


def test_once_as_json_is_one_document(at_shop: Shell) -> None:
    job_id = at_shop.run("submit", "shop:fail", "no", "--wait", "--json").json["id"]
    told = at_shop.run("top", "--once", "--json").json

    assert {"name", "slots", "running", "connected"} <= told["workers"][0].keys()
    assert job_id in [failure["id"] for failure in told["failures"]]


def test_as_json_one_document_a_line_is_printed_until_it_is_stopped(shop: Served) -> None:
    with subprocess.Popen(
        [*COMMAND, "top", "--json", "--url", shop.url], env=environment(), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        process.terminate()

    assert first["started_ms"] == second["started_ms"]
    assert second["at_ms"] > first["at_ms"]
