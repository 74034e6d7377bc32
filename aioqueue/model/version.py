"""The version of this release, where every layer can read it; `pyproject.toml` says the same."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"

# Under this name a process says which version of the app it runs, in what it tells of itself.
APP_VERSION: Final = "app_version"
