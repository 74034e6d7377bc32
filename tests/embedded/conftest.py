from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that begins in this process, or in another, may be kept waiting by its disk."""
    monkeypatch.setattr("aioqueue.client.connecting.CONNECT_SECONDS", 60.0)
