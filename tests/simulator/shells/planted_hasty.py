"""Bugs of those who leave, planted in the real broker and client: each is found by its seed in a world of hasty users.

`python -m tests.simulator --level 3 --bug NAME --seeds 100` finds another seed when the world has changed.
"""

from __future__ import annotations

from typing import Any

import pytest

from aioqueue.broker.line import Query
from aioqueue.broker.peers import asking, dispatch
from aioqueue.broker.peers.peer import Peer
from aioqueue.broker.peers.rows import Row
from aioqueue.broker.seats import Seats
from aioqueue.client.submitting import Parcel, Submitter
from aioqueue.protocol import messages as m
from tests.simulator.planted import Bug, Plant

BUGS: list[Bug] = []


def bug(seed: int) -> Any:
    """Register a bug under the words of its function's name."""

    def register(plant: Plant) -> Plant:
        BUGS.append(Bug(plant.__name__, "left", seed, plant))
        return plant

    return register


@bug(12)
def the_bytes_of_an_older_connection_are_decided_after_the_newer_welcome(patch: pytest.MonkeyPatch) -> None:
    def seat(self: Seats[Peer], peer: Peer) -> None:
        at = self.at_heartbeat if peer.role is m.Role.HEARTBEAT else self.at_data
        at[peer.session] = peer

    patch.setattr(Seats, "seat", seat)


@bug(30)
def a_question_passes_a_submit_of_its_job_that_is_looked_up(patch: pytest.MonkeyPatch) -> None:
    def get_job(peer: Peer, message: m.GetJob) -> None:
        peer.post(Query(lambda: asking._look(peer, message.job)), asking._got_job, message)

    patch.setitem(dispatch._DISPATCH, m.GetJob, Row(m.GetJob, dispatch._DISPATCH[m.GetJob].right, get_job))


@bug(0)
def what_nobody_waits_for_is_said_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Parcel, "is_wanted", lambda self: len(self.receipts) > 0)


@bug(0)
def a_submit_that_was_sent_is_said_not_to_have_been(patch: pytest.MonkeyPatch) -> None:
    real = Submitter.give_up

    def give_up(self: Submitter, parcel: Parcel) -> None:
        parcel.sent_at = None
        real(self, parcel)

    patch.setattr(Submitter, "give_up", give_up)


@bug(0)
def a_submit_whose_time_is_over_is_not_withdrawn(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Submitter, "withdraw", lambda self, parcel: None)
