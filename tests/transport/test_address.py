from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aioqueue.errors import BadUrl
from aioqueue.transport.address import MemoryAddress, SqliteAddress, TcpAddress, parse_address


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("memory:", MemoryAddress()),
        ("MEMORY:", MemoryAddress()),
        ("sqlite:jobs.db", SqliteAddress("jobs.db")),
        ("sqlite:/var/lib/my jobs/a:b.db", SqliteAddress("/var/lib/my jobs/a:b.db")),
        ("sqlite:./jobs?.db", SqliteAddress("./jobs?.db")),
        ("tcp://localhost", TcpAddress("localhost", 7411)),
        ("tcp://127.0.0.1:7411", TcpAddress("127.0.0.1", 7411)),
        ("TCP://broker.example.com:1", TcpAddress("broker.example.com", 1)),
        ("tcp://[::1]", TcpAddress("::1", 7411)),
        ("tcp://[2001:db8::5]:65535", TcpAddress("2001:db8::5", 65_535)),
    ],
)
def test_an_address_is_read_as_it_was_meant(url: str, address: object) -> None:
    assert parse_address(url) == address


@pytest.mark.parametrize(
    "address",
    [MemoryAddress(), SqliteAddress("a.db"), TcpAddress("a", 1), TcpAddress("::1", 65_535)],
)
def test_an_address_that_is_printed_can_be_read_again(address: Any) -> None:
    assert parse_address(str(address)) == address
    assert str(address).startswith(address.scheme)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("jobs.db", "it has no scheme"),
        ("./jobs.db", "it has no scheme"),
        ("localhost:7411", "it has no scheme"),
        ("127.0.0.1:7411", "it has no scheme"),
        ("C:\\jobs.db", "it has no scheme"),
        ("//localhost:7411", "it has no scheme"),
        ("memory", "it has no scheme"),
        ("sqlite:a\0b", "it contains a NUL character"),
        ("redis://localhost:6379", "the scheme 'redis' is not known"),
        ("tls://localhost:7411", "this version has no TLS"),
        ("memory://", "nothing may follow memory:"),
        ("sqlite:", "the path of the journal is missing"),
        ("sqlite:///jobs.db", "the path follows the colon at once, as in sqlite:jobs.db or sqlite:/var/lib/jobs.db"),
        ("sqlite::memory:", "a broker without a file is written memory:"),
        ("sqlite:jobs/", "the path is a directory's"),
        ("tcp:localhost:7411", "two slashes must follow tcp:"),
        ("tcp://", "the host is missing"),
        ("tcp://:7411", "the host is missing"),
        ("tcp://a b:7411", "the host 'a b' has characters that no host has"),
        ("tcp://localhost:7411/x", "nothing may follow the port"),
        ("tcp://localhost:7411?x=1", "nothing may follow the port"),
        ("tcp://localhost:", "the port '' is not a number from 1 to 65535"),
        ("tcp://localhost:0", "the port '0' is not a number from 1 to 65535"),
        ("tcp://localhost:65536", "the port '65536' is not a number from 1 to 65535"),
        ("tcp://localhost:-1", "the port '-1' is not a number from 1 to 65535"),
        ("tcp://localhost:\u0667", "the port '\u0667' is not a number from 1 to 65535"),
        ("tcp://::1:7411", "an IPv6 address needs brackets, as in tcp://[::1]:7411"),
        ("tcp://[::1", "the bracket of its IPv6 address is not closed"),
        ("tcp://[::1]7411", "'7411' follows the IPv6 address"),
        ("tcp://[localhost]:7411", "'localhost' is not an IPv6 address"),
        ("tcp://me:secret@localhost", "a name or password cannot stand in it; give token= instead"),
    ],
)
def test_a_wrong_address_is_refused_with_what_is_wrong(url: str, reason: str) -> None:
    with pytest.raises(BadUrl) as refused:
        parse_address(url)
    assert refused.value.reason == reason


def test_an_address_that_is_no_text_is_refused() -> None:
    wrong: Any = 7411
    with pytest.raises(BadUrl, match="it must be text, not int"):
        parse_address(wrong)


@pytest.mark.parametrize("scheme", ["tcp", "tls", "redis"])
def test_a_password_in_an_address_is_never_repeated(scheme: str) -> None:
    with pytest.raises(BadUrl) as refused:
        parse_address(f"{scheme}://me:secret@localhost:7411")
    assert "secret" not in str(refused.value)
    assert "***@localhost:7411" in str(refused.value)


@given(st.text() | st.text("tcpsqliemory:/[]@.0123456789").map(lambda rest: "tcp://" + rest))
def test_any_text_is_an_address_or_refused_as_none(url: str) -> None:
    try:
        address = parse_address(url)
    except BadUrl:
        return
    assert parse_address(str(address)) == address
