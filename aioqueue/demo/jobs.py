"""The demo's tasks. Plain functions, because Pillow computes and never waits: the worker runs them in threads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from aioqueue import Context, Queue, Retry
from aioqueue.clock import SystemClock

THUMBNAIL: tuple[int, int] = (96, 96)
PAPER_AT_ATTEMPT = 3

# Both sides are told where the broker is: its port is chosen anew each time.
queue = Queue("memory:")


class OutOfPaper(Exception):
    """What goes wrong twice."""


@dataclass
class Made:
    """A picture that a job made: its file, size in pixels and bytes, how long it took, and the process it ran in."""

    file: str
    width: int
    height: int
    bytes: int
    ms: int
    process: int


@queue.task(name="demo.resize")
def resize(photo: Path, width: int, folder: Path) -> Made:
    """The photograph, `width` pixels wide."""
    began_ns = SystemClock.mono_ns()
    with Image.open(photo) as image:
        height = max(1, round(image.height * width / image.width))
        smaller = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    return _saved(smaller, folder / f"{photo.stem}-{width}.jpg", began_ns)


@queue.task(name="demo.thumbnail", priority="high")
def thumbnail(photo: Path, folder: Path) -> Made:
    """The middle of the photograph, as a small square."""
    began_ns = SystemClock.mono_ns()
    with Image.open(photo) as image:
        square = ImageOps.fit(image.convert("RGB"), THUMBNAIL, Image.Resampling.LANCZOS)
    return _saved(square, folder / f"{photo.stem}-thumbnail.jpg", began_ns)


@queue.task(name="demo.print", priority="high", retry=Retry(attempts=5, base=1.0))
def print_black_and_white(context: Context, photo: Path, folder: Path) -> Made:
    """The photograph in black and white; there is paper only at the third attempt."""
    began_ns = SystemClock.mono_ns()
    if context.attempt < PAPER_AT_ATTEMPT:
        raise OutOfPaper(f"no paper for {photo.name} at attempt {context.attempt}")
    with Image.open(photo) as image:
        grey = ImageOps.autocontrast(image.convert("L"))
    return _saved(grey, folder / f"{photo.stem}-print.jpg", began_ns)


def _saved(image: Image.Image, path: Path, began_ns: int) -> Made:
    # A run that ends half-way is done again, so a file is either whole or not there.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    image.save(unfinished, "JPEG", quality=88)
    unfinished.replace(path)
    took_ms = -(-(SystemClock.mono_ns() - began_ns) // 1_000_000)
    return Made(path.name, image.width, image.height, path.stat().st_size, took_ms, os.getpid())
