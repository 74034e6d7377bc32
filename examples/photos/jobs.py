"""What is done to a photograph. Workers import this, and so does `submit.py`."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from aioqueue import Context, Queue, Retry

# AIOQUEUE_URL, or the --url of a command, says where the broker is.
queue = Queue()


@dataclass
class Made:
    file: Path
    width: int
    height: int


@queue.task
def resize(photo: Path, width: int, folder: Path) -> Made:
    """A plain function: it computes and never waits, so the worker runs it in a thread."""
    with Image.open(photo) as image:
        height = max(1, round(image.height * width / image.width))
        return save(image.convert("RGB").resize((width, height)), folder / f"{photo.stem}-{width}.jpg")


@queue.task(priority="high")
def thumbnail(photo: Path, folder: Path) -> Made:
    with Image.open(photo) as image:
        return save(ImageOps.fit(image.convert("RGB"), (96, 96)), folder / f"{photo.stem}-thumbnail.jpg")


@queue.task(retry=Retry(attempts=5, base="100ms", never=(FileNotFoundError,)))
def print_it(context: Context, photo: Path, folder: Path) -> Made:
    """The printer has paper from the third attempt on."""
    if context.attempt < 3:
        raise RuntimeError(f"out of paper at attempt {context.attempt}")
    with Image.open(photo) as image:
        return save(ImageOps.autocontrast(image.convert("L")), folder / f"{photo.stem}-print.jpg")


def save(image: Image.Image, path: Path) -> Made:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=88)
    return Made(path, image.width, image.height)
