"""The plot of a soak: one small picture for each thing that must not grow.

Needs matplotlib (`pip install '.[soak]'`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.soak.report import METRICS, Sample, series

_BY_FIELD: Final = {metric.field: metric for metric in METRICS}
_PICTURES: Final = (
    ("memory, MiB", ("broker_rss", "worker_rss"), False),
    ("disk, MiB", ("disk", "archive", "journal", "wal"), False),
    ("open files", ("broker_fds", "worker_fds"), False),
    ("jobs that live", ("living",), False),
    (
        "latency, ms",
        ("round_trip_p50_ms", "round_trip_p99_ms", "submit_p50_ms", "submit_p99_ms", "step_us_p99"),
        True,
    ),
    ("jobs a second", ("jobs_a_second",), False),
)


def draw(samples: Sequence[Sample], events: Sequence[tuple[float, str]], paths: Sequence[Path]) -> None:
    """Write the plot to each path, in the format of its name; `events` are drawn as lines."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "soak"
    # Letters as letters, not as outlines: half the size, and a reader can search in it.
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 2, figsize=(11, 9), sharex=True, layout="constrained")
    for axis, (title, fields, logarithmic) in zip(axes.flat, _PICTURES, strict=True):
        for field in fields:
            seen = series(samples, _BY_FIELD[field])
            axis.plot([at / 60 for at in seen.times], seen.values, label=_BY_FIELD[field].name, linewidth=0.9)
        for at, _ in events:
            axis.axvline(at / 60, color="grey", linewidth=0.6, linestyle=":")
        axis.set_title(title, fontsize=10)
        axis.legend(fontsize=8, loc="best")
        if logarithmic:
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0)
    for axis in axes[-1]:
        axis.set_xlabel("minutes; dotted: the broker was stopped or killed")
    for path in paths:
        options: dict[str, Any] = {"metadata": {"Date": None}} if path.suffix == ".svg" else {"dpi": 110}
        figure.savefig(path, **options)
    pyplot.close(figure)
