"""Where arguments lie, packed into one number."""

from __future__ import annotations

import pytest

from aioqueue.core.places import Place, length_in, pack_place, unpack_place
from aioqueue.limits import BATCH_BYTES_MAX


@pytest.mark.parametrize(
    "place",
    [Place(0, 0, 0), Place(1, 2, 3), Place(BATCH_BYTES_MAX, BATCH_BYTES_MAX, 0xFFFF_FFFF), Place(5, 0, 0xFFFF_FFFF)],
)
def test_a_place_is_unpacked_as_it_was_packed(place: Place) -> None:
    packed = pack_place(*place)
    assert unpack_place(packed) == place
    assert length_in(packed) == place.length
