"""What the demo made, as a table for people and a document for programs. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aioqueue.client.info import JobInfo
from aioqueue.demo.jobs import Made
from aioqueue.demo.progress import Progress
from aioqueue.demo.view import told


@dataclass(frozen=True)
class Report:
    """The demo's end: where its files are, and how each came about."""

    out: Path
    progress: Progress

    @property
    def journal(self) -> Path:
        return self.out / "demo.db"

    @property
    def pictures(self) -> Path:
        return self.out / "pictures"

    def document(self) -> dict[str, Any]:
        """For programs: the files with their jobs, and what was retried."""
        progress = self.progress
        return {
            "out": str(self.out),
            "pictures": str(self.pictures),
            "journal": str(self.journal),
            "url": progress.url,
            "processes": sorted({made.process for made in progress.done.values()}),
            "jobs": len(progress.wanted),
            "elapsed_ms": progress.elapsed_ms,
            "files": [
                {
                    "job": id,
                    "photo": wanted.photo.name,
                    **asdict(progress.done[id]),
                    "attempts": _attempts(progress.infos.get(id)),
                }
                for id, wanted in progress.wanted.items()
            ],
            "retried": [
                {"job": info.id, "attempts": _attempts(info), "errors": _errors(info)} for info in progress.retried()
            ],
        }

    def table(self) -> RenderableType:
        """For people: a row a photograph, then what was retried, then where everything is."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("photograph", no_wrap=True)
        table.add_column("made", overflow="fold")
        for head in ("bytes", "ms"):
            table.add_column(head, justify="right", no_wrap=True)
        table.add_column("by processes", overflow="fold")
        for photo, files in self._by_photo().items():
            processes = sorted({made.process for made in files})
            table.add_row(
                Text(photo),
                Text(", ".join(f"{made.width}x{made.height}" for made in files)),
                f"{sum(made.bytes for made in files):,}",
                f"{sum(made.ms for made in files):,}",
                Text(", ".join(map(str, processes))),
            )
        progress = self.progress
        lines = [told(progress, info, 0) for info in progress.retried()]
        lines += [
            f"{len(progress.done)} files in {progress.elapsed_ms / 1000:.1f} s, in {self.pictures}",
            f"the journal tells of every job: aioqueue ls --url sqlite:{self.journal}",
        ]
        return Group(table, Text(), *(Text(line, overflow="fold") for line in lines))

    def _by_photo(self) -> dict[str, list[Made]]:
        rows: dict[str, list[Made]] = {}
        for id, wanted in self.progress.wanted.items():
            rows.setdefault(wanted.photo.name, []).append(self.progress.done[id])
        return rows


def _attempts(info: JobInfo | None) -> int:
    return 1 if info is None else info.failures + 1


def _errors(info: JobInfo) -> list[str]:
    return [f"{ended.failure.type}: {ended.failure.text}" for ended in info.attempts if ended.failure is not None]
