"""`aioqueue bench` measures with real processes, says what it measured, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aioqueue.bench.figures import Figure
from tests.support.commands import run


@pytest.mark.parametrize(
    ("figure", "holds"),
    [
        (Figure("free", 9.0, "us"), True),
        (Figure("at most", 2.0, "us", 2.0), True),
        (Figure("over", 2.1, "us", 2.0), False),
        (Figure("at least", 2.0, "1/s", 2.0, at_least=True), True),
        (Figure("under", 1.9, "1/s", 2.0, at_least=True), False),
    ],
    ids=lambda value: value.name if isinstance(value, Figure) else "",
)
def test_a_figure_is_judged_by_its_bound(figure: Figure, holds: bool) -> None:
    assert figure.holds is holds


def test_figures_come_as_json_in_the_order_they_were_asked_for_and_no_file_is_left(tmp_path: Path) -> None:
    ended = run("bench", "archive", "idle", "--jobs", "10000", "--seconds", "1", "--json", cwd=tmp_path)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert [row["name"] for row in found] == ["CPU of the archive", "idle broker", "idle worker"]
    assert set(found[0]) == {"name", "value", "unit", "bound", "at_least", "holds"}
    assert found[0]["value"] > 0
    assert list(tmp_path.iterdir()) == []


def test_many_idle_connections_cost_little_memory_each(tmp_path: Path) -> None:
    # As many as go under the limit of open files that most shells have, 1024.
    ended = run("bench", "connections", "--connections", "900", "--json", cwd=tmp_path)
    assert ended.code == 0, ended.err
    [memory, each] = json.loads(ended.out)
    assert memory["holds"]
    # 400 MiB for 10,000 are 42 KB each; it is some 17.
    assert 1_000 < each["value"] < 30_000


def test_an_unknown_figure_is_one_sentence_that_names_those_there_are(tmp_path: Path) -> None:
    sentence = run("bench", "speed", cwd=tmp_path).refused()
    assert "figure='speed'" in sentence
    assert "throughput, archive, steady" in sentence
