"""Flag, code, environment: who names a queue's broker, and what is said of the one that loses."""

from __future__ import annotations

import logging

import pytest

from aioqueue.client import sources
from aioqueue.client.sources import URL_VARIABLE, Sources
from aioqueue.errors import BadUrl
from aioqueue.transport.address import MemoryAddress, TcpAddress, parse_address


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_said", set())


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_the_environment_is_read_when_the_broker_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    of_a_module = Sources(None)
    monkeypatch.setenv(URL_VARIABLE, "tcp://late")
    assert of_a_module.decided() == TcpAddress("late", 7411)


@pytest.mark.parametrize("empty", [None, ""])
def test_an_empty_source_names_no_broker(empty: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_VARIABLE, "")
    with pytest.raises(BadUrl) as refused:
        Sources(empty).decided()
    assert refused.value.reason == "no broker is named"


def test_an_environment_that_names_no_address_is_refused_only_where_it_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_VARIABLE, "redis://localhost")
    with pytest.raises(BadUrl, match="the scheme 'redis' is not known"):
        Sources(None).decided()
    assert Sources("memory:").decided() == MemoryAddress()


def test_an_environment_that_loses_against_code_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(URL_VARIABLE, "tcp://elsewhere")
    for _ in range(2):
        assert Sources("tcp://broker").decided() == TcpAddress("broker", 7411)
    [warning] = warnings_of(caplog)
    assert "AIOQUEUE_URL is not used, because the code names another broker, tcp://broker:7411" in warning
    # It may hold a password.
    assert "elsewhere" not in warning


@pytest.mark.parametrize(("code", "flag"), [("tcp://broker", None), (None, "tcp://flag"), ("tcp://code", "tcp://flag")])
def test_nothing_is_told_where_they_agree_or_a_flag_decides(
    code: str | None, flag: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(URL_VARIABLE, "tcp://broker:7411")
    found = Sources(code)
    found.flag = None if flag is None else parse_address(flag)
    assert found.decided() == parse_address(flag or "tcp://broker")
    assert warnings_of(caplog) == []
