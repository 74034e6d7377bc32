"""Where a command's broker is when nothing says so."""

from __future__ import annotations

from typing import Final

URL_VARIABLE: Final = "AIOQUEUE_URL"
DEFAULT_URL: Final = "tcp://127.0.0.1:7411"
