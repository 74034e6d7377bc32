"""The picture of a broker: what stands in it, what fits, and what a job cannot smuggle into it."""

from __future__ import annotations

import io

import pytest
from msgspec import structs
from rich.console import Console, RenderableType

from aioqueue.model.views import AdmissionStatistics, Block, RecentFailure, RunningJob, WorkerStatistics
from aioqueue.monitor.render import render, share
from tests.support.statistics import JOB, JOB_TEXT, NOW_MS, queue, statistics

JOB_END = JOB_TEXT[-12:]

WORKER = WorkerStatistics(4, "host:1/1", ["mail", "images"], 100, 25, True, 20, 7)
RUNNING = RunningJob(JOB, "app.send", "mail", "host:1/1", 3, 15_000)
FAILURE = RecentFailure(JOB, "app.send", "mail", NOW_MS - 9_000, "ValueError", "no stock", True)


def drawn(picture: RenderableType, *, width: int = 160, color: bool = False) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=color, color_system="standard" if color else None).print(picture)
    return out.getvalue()


def line_with(text: str, picture: RenderableType) -> list[str]:
    return next(line for line in drawn(picture).splitlines() if text in line).split()


def test_a_queue_shows_depth_rates_and_totals() -> None:
    before = statistics(queue(submitted=100, succeeded=80, failed=1), at_ms=NOW_MS)
    now = statistics(
        queue(ready=12, scheduled=3, running=25, submitted=300, succeeded=180, failed=2, dead=1), at_ms=NOW_MS + 1_000
    )

    assert line_with("mail", render(now, before)) == ["mail", "12", "3", "25", "200", "100", "1.0", "180", "1"]
    assert line_with("mail", render(now)) == ["mail", "12", "3", "25", "-", "-", "-", "180", "1"]


def test_the_header_tells_where_how_long_and_how_far() -> None:
    header = drawn(render(statistics(), url="tcp://broker:7411")).splitlines()[0]

    assert header == "aioqueue  tcp://broker:7411  up 3m 20s  position 77  2 sessions  22:13:20 UTC"


def test_a_lost_connection_is_said() -> None:
    assert "reconnecting" in drawn(render(statistics(), connected=False)).splitlines()[0]
    assert "reconnecting" not in drawn(render(statistics(), connected=True))


def test_workers_running_jobs_and_failures_have_their_lines() -> None:
    picture = render(statistics(workers=[WORKER], running=[RUNNING], failures=[FAILURE]))

    assert line_with("images", picture) == ["host:1/1", "mail,", "images", "25", "100", "━━━━━━━━━━", "7ms", "now"]
    assert line_with("15s", picture) == [JOB_END, "app.send", "mail", "host:1/1", "3", "15s"]
    assert line_with("no stock", picture) == ["9s", "app.send", "mail", JOB_END, "dead", "ValueError:", "no", "stock"]


def test_a_job_has_the_name_that_its_caller_gave_it() -> None:
    running, failure = structs.replace(RUNNING, own_id="invoice-42"), structs.replace(FAILURE, own_id="x" * 256)
    picture = render(statistics(running=[running], failures=[failure]))

    assert line_with("15s", picture)[0] == "invoice-42"
    assert line_with("no stock", picture)[3] == "x" * 39 + "…"


def test_a_long_error_takes_no_room_from_what_stands_before_it() -> None:
    failure = structs.replace(FAILURE, text="no stock of " + "the long bolts " * 20)

    line = line_with("no stock", render(statistics(failures=[failure])))
    assert line[:8] == ["9s", "app.send", "mail", JOB_END, "dead", "ValueError:", "no", "stock"]
    assert line[-1].endswith("…")
    narrow = next(text for text in drawn(render(statistics(failures=[failure])), width=90).splitlines() if "9s" in text)
    assert narrow.split()[:3] == ["9s", "app.send", "mail"]
    assert "ValueError: no" in narrow


def test_a_worker_that_was_lost_is_said_with_its_silence() -> None:
    lost = WorkerStatistics(4, "", ["a", "b", "c", "d", "e"], 10, 0, False, 7_000)

    assert line_with("lost", render(statistics(workers=[lost]))) == (
        ["session", "4", "a,", "b,", "c", "and", "2", "more", "0", "10", "━━━━━━━━━━", "0ms", "lost,", "7s", "ago"]
    )


def test_runs_that_heed_no_cancellation_are_counted_where_there_are_any() -> None:
    deaf = structs.replace(WORKER, deaf=3)
    assert line_with("host:1/1", render(statistics(workers=[deaf])))[-3:] == ["7ms", "3", "now"]
    assert "deaf" in drawn(render(statistics(workers=[deaf])))
    assert "deaf" not in drawn(render(statistics(workers=[WORKER])))


def test_an_event_loop_that_stands_still_is_named_with_its_job_and_place() -> None:
    blocked = WorkerStatistics(
        4, "host:1/1", ["mail"], 1, 1, True, 0, 12_000, Block(JOB, "app.send", "shop.py:7 in send", 12_000)
    )
    unseen = WorkerStatistics(5, "host:1/2", ["mail"], 1, 1, True, 0, 9_000, Block(b"", "", "no sign of it", 9_000))
    picture = render(statistics(workers=[blocked, unseen]))

    assert "Event loops that stand still" in drawn(picture)
    assert line_with("shop.py", picture) == ["host:1/1", "12s", "app.send", JOB_END, "shop.py:7", "in", "send"]
    assert line_with("no sign", picture) == ["host:1/2", "9s", "no", "sign", "of", "it"]
    assert "stand still" not in drawn(render(statistics(workers=[WORKER])))


def test_an_idle_broker_says_so_instead_of_empty_tables() -> None:
    told = drawn(render(statistics()))

    for nothing in ("no job has been submitted yet", "no worker is connected", "no job runs", "none"):
        assert nothing in told


HOSTILE = "\x1b[2J\x1b]0;owned\x07[blink]x[/blink]\n\u202e\x9b31m"


def test_nothing_that_a_job_brought_along_reaches_the_terminal_as_a_command() -> None:
    hostile = statistics(
        queue(HOSTILE),
        workers=[WorkerStatistics(4, HOSTILE, [HOSTILE], 1, 1, True, 0, 0, Block(JOB, HOSTILE, HOSTILE, 1))],
        running=[RunningJob(JOB, HOSTILE, HOSTILE, HOSTILE, 1, 1)],
        failures=[RecentFailure(JOB, HOSTILE, HOSTILE, NOW_MS, HOSTILE, HOSTILE, False)],
    )
    told = drawn(render(hostile, url=HOSTILE), width=2_000)

    assert all(char == "\n" or char.isprintable() for char in told)
    assert "[blink]x[/blink]" in told
    # With colors the only escapes are those of colors.
    colored = drawn(render(hostile, url=HOSTILE), width=2_000, color=True)
    assert not any(forbidden in colored for forbidden in ("\x1b[2J", "\x1b]", "\x07", "\x9b", "\u202e", "\x1b[5m"))


def test_only_as_many_rows_are_drawn_as_fit_and_the_rest_is_counted() -> None:
    queues = [queue(f"lane-{number:02}", ready=number) for number in range(40)]
    picture = render(
        statistics(*queues, workers=[WORKER] * 30, running=[RUNNING] * 30, failures=[FAILURE] * 30), height=30
    )
    lines = drawn(picture).splitlines()

    assert len(lines) <= 30
    assert "Queues  36 more" in lines
    # Of the queues those with the most jobs are shown, in the order of their names.
    assert [line.split()[0] for line in lines if line.startswith("lane-")] == [
        "lane-36",
        "lane-37",
        "lane-38",
        "lane-39",
    ]


@pytest.mark.parametrize(
    ("wanted", "room", "given"),
    [
        ([5, 5, 5, 5], 100, [5, 5, 5, 5]),
        ([50, 1, 0, 50], 11, [5, 1, 0, 5]),
        ([50, 50, 50, 50], 6, [2, 2, 1, 1]),
        ([9, 9, 9, 9], -3, [1, 1, 1, 1]),
        ([0, 0, 0, 0], 7, [0, 0, 0, 0]),
    ],
)
def test_lists_share_the_lines_fairly(wanted: list[int], room: int, given: list[int]) -> None:
    assert share(wanted, room) == given


@pytest.mark.parametrize(
    ("admission", "shown"),
    [
        (AdmissionStatistics(79, 0, 100, 1_000), ""),
        (AdmissionStatistics(10, 999, 100, 1_000), "backlog 99 %"),
        (AdmissionStatistics(100, 0, 100, 1_000), "backlog 100 %"),
        (AdmissionStatistics(1, 0, 100, 1_000, 5 << 20, 6 << 20, True), "disk low: 5 MiB free, no new jobs"),
    ],
)
def test_what_keeps_new_jobs_out_stands_first_and_nothing_does_while_there_is_room(
    admission: AdmissionStatistics, shown: str
) -> None:
    view = structs.replace(statistics(queue(running=3, stopping=1)), admission=admission)
    line = next(line for line in drawn(render(view)).splitlines() if "succeeded" in line)

    assert line.split("ready", maxsplit=1)[0].strip() == shown
    assert "running 2   stopping 1" in line


@pytest.mark.parametrize("width", [36, 50, 60, 80, 100, 120, 160])
def test_names_never_vanish_and_no_line_is_wider_than_the_terminal(width: int) -> None:
    before = statistics(queue("a-queue-of-medium-length"), at_ms=NOW_MS - 1_000)
    view = statistics(
        queue("a-queue-of-medium-length", ready=1_273_000, scheduled=40_000, running=60, submitted=999_999, dead=52),
        workers=[WORKER], running=[RUNNING], failures=[structs.replace(FAILURE, text="no stock " * 30)],
    )  # fmt: skip
    lines = drawn(render(view, before), width=width).splitlines()

    assert max(map(len, lines)) <= width
    (line,) = [line for line in lines if line.startswith("a-queue-of-")]
    assert "1.3M" in line
    assert "app.send" in lines[-1]
    assert "Value" in lines[-1]
    for name in ("host:1/1", "app.send"):
        assert any(name in line for line in lines)
    assert ("failed/s" in "".join(lines)) is (width >= 60)


def test_the_window_of_the_rates_is_said() -> None:
    now, before = statistics(queue(), at_ms=NOW_MS + 1_240), statistics(queue(), at_ms=NOW_MS)

    assert "Queues  rates over 1.2 s" in drawn(render(now, before)).splitlines()
    assert "Queues" in drawn(render(now)).splitlines()
