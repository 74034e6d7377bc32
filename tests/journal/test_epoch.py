"""What an epoch record says: bytes for ever, and what is refused."""

from __future__ import annotations

import msgspec
import pytest

from aioqueue.errors import JournalDamaged
from aioqueue.journal.epoch import epoch_payload, is_renewal, stated_level


def test_a_record_of_the_first_level_is_the_owners_name_alone() -> None:
    assert epoch_payload("host:7 ä", 1) == "host:7 ä".encode()


def test_a_higher_level_stands_behind_the_name() -> None:
    data = epoch_payload("host:7", 2)
    assert data == b"host:7\x00\x81\xa6format\x02"
    assert stated_level(data, "j", 1) == 2


@pytest.mark.parametrize(
    ("payload", "level"),
    [
        (b"", 1),
        (b"an owner of today", 1),
        (b"o\x00" + msgspec.msgpack.encode({"node": "a", "set": 1, "partition": 0}), 1),
        (b"o\x00" + msgspec.msgpack.encode({"format": 9, "node": "a"}), 9),
    ],
)
def test_what_is_not_said_is_the_first_level(payload: bytes, level: int) -> None:
    assert stated_level(payload, "j", 1) == level


def test_a_name_with_a_nul_hides_no_level() -> None:
    assert stated_level(epoch_payload("a\0b", 3), "j", 1) == 3
    assert stated_level(epoch_payload("a\0b", 1), "j", 1) == 1


@pytest.mark.parametrize(
    "more", [b"", b"x", b"\x81\xa6format\xa1x", b"\x81\xa6format\x00", b"\x81\xa6format\xc3", b"\x91\x01", b"\x81\xa1"]
)
def test_what_nobody_wrote_behind_the_name_is_damage(more: bytes) -> None:
    with pytest.raises(JournalDamaged, match="the epoch record 7"):
        stated_level(b"owner\x00" + more, "j", 7)


def test_a_leader_that_goes_on_is_told_from_another_that_took_over() -> None:
    assert is_renewal(epoch_payload("host:7", 2, renews=True))
    assert not is_renewal(epoch_payload("host:7", 2))
    assert not is_renewal(epoch_payload("host:7", 1))
    assert not is_renewal(b"host:7\0\xc1")
