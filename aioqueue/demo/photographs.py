"""Where the demo's photographs are: inside the wheel of scikit-image, which is looked into and never imported."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from aioqueue.errors import ExtraMissing

# Of some thirty pictures there, those that a camera took.
_NAMES: Final = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
    "rocket.jpg",
)


def photographs() -> list[Path]:
    """The photographs that are installed. Raises `ExtraMissing` if they, or Pillow, are not."""
    if find_spec("PIL") is None:
        raise ExtraMissing(what="the demo", packages="Pillow", extra="demo")
    package = find_spec("skimage")
    places = package.submodule_search_locations if package is not None else None
    found = [path for place in places or () for name in _NAMES if (path := Path(place, "data", name)).is_file()]
    if not found:
        raise ExtraMissing(what="the demo", packages="scikit-image and its photographs", extra="demo")
    return found
