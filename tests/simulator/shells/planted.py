"""Bugs that were never in the program, planted in the real broker, client and worker: each is found by its seed.

They are such as the small simulator cannot see, for it has none of this code: what leaves when, what is said again
after a reconnect, who is told. `python -m tests.simulator --level 2 --bug NAME --seeds 100` finds another seed when
the world has changed.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import msgspec
import pytest

from aioqueue.broker.disk import DiskWatch
from aioqueue.broker.engine import Engine
from aioqueue.broker.follower import Follower
from aioqueue.broker.overlay import Overlay
from aioqueue.broker.peers import dispatch, waiting, working
from aioqueue.broker.peers.peer import Peer
from aioqueue.broker.peers.rows import Row
from aioqueue.broker.seats import Seats
from aioqueue.broker.translate import submits
from aioqueue.broker.translate.runs import runs_ended
from aioqueue.broker.waiters import Waiters
from aioqueue.client.asking import Questions
from aioqueue.client.bulk import BulkSubmit
from aioqueue.client.children import Family
from aioqueue.client.link import Link
from aioqueue.client.queue import Queue
from aioqueue.client.submitting import Submitter
from aioqueue.client.waiting import Endings
from aioqueue.core import commands as c
from aioqueue.errors import JournalUnavailable
from aioqueue.protocol import messages as m
from aioqueue.worker import calls
from aioqueue.worker.session import Session
from aioqueue.worker.settles import SettleBox
from tests.simulator.planted import Bug, Plant

BUGS: list[Bug] = []


def bug(promise: str, seed: int) -> Any:
    """Register a bug under the words of its function's name."""

    def register(plant: Plant) -> Plant:
        BUGS.append(Bug(plant.__name__, promise, seed, plant))
        return plant

    return register


# --- the engine and its storage -----------------------------------------------------------------------------------


@bug("I1", 0)
def answers_leave_before_they_are_durable(patch: pytest.MonkeyPatch) -> None:
    last: dict[Engine, asyncio.Task[None]] = {}

    async def append(self: Engine, data: bytes) -> int:
        position, before = self.position, last.get(self)

        async def later() -> None:
            if before is not None:
                await before
            await self.journal.append(data, position)

        last[self] = asyncio.create_task(later())
        return position + 1

    patch.setattr(Engine, "_append", append)


@bug("I1", 14)
def a_batch_that_the_journal_refused_counts_as_written(patch: pytest.MonkeyPatch) -> None:
    async def append(self: Engine, data: bytes) -> int:
        try:
            return await self.journal.append(data, self.position)
        except JournalUnavailable:
            return self.position + 1

    patch.setattr(Engine, "_append", append)


@bug("I2", 0)
def a_row_is_out_of_sight_while_it_is_archived(patch: pytest.MonkeyPatch) -> None:
    real = Overlay.find

    def find(self: Overlay, job_id: bytes) -> Any:
        found = real(self, job_id)
        return None if found is not None and self._one_bulk.locked() and found.position <= self._position else found

    patch.setattr(Overlay, "find", find)


@bug("I2", 3)
def ends_that_were_not_archived_are_forgotten_by_a_restart(patch: pytest.MonkeyPatch) -> None:
    real = Follower.read_on

    async def read_on(self: Follower) -> None:
        overlay, self.overlay = self.overlay, Overlay(self.archive, self.ground)
        await real(self)
        self.overlay = overlay

    patch.setattr(Follower, "read_on", read_on)


# --- the broker's connections -------------------------------------------------------------------------------------


def _handle(patch: pytest.MonkeyPatch, message: type[Any], handler: Any) -> None:
    patch.setitem(dispatch._DISPATCH, message, Row(message, dispatch._DISPATCH[message].right, handler))


@bug("liveness", 6)
def a_run_that_was_lost_on_its_way_is_not_given_back(patch: pytest.MonkeyPatch) -> None:
    def resume(peer: Peer, message: m.Resume) -> None:
        leases = peer.services.engine.partition.state.sessions[peer.session].leases.values()
        named = {held.job for held in (*message.held, *message.settles)}
        held = [c.HeldRun(held.job, held.fence) for held in message.held]
        held += [c.HeldRun(job.id, job.fence) for job in leases if job.id not in named]

        def answered(peer: Peer, question: m.Resume, reply: Any) -> None:
            working._resumed(peer, question, (reply[0][: len(message.held)], reply[1]))

        peer.post(c.ResumeSession(peer.session, held, runs_ended(message.settles)), answered, message)

    _handle(patch, m.Resume, resume)


@bug("liveness", 65)
def the_older_connection_of_a_session_keeps_its_seat(patch: pytest.MonkeyPatch) -> None:
    real = Seats.seat

    def seat(self: Seats[Peer], peer: Peer) -> None:
        seats = self.at_heartbeat if peer.role is m.Role.HEARTBEAT else self.at_data
        older = seats.get(peer.session)
        real(self, peer)
        if older is not None:
            seats[peer.session] = older

    patch.setattr(Seats, "seat", seat)


@bug("liveness", 13)
def nobody_ends_the_session_of_a_worker_that_died(patch: pytest.MonkeyPatch) -> None:
    _handle(patch, m.WorkerDied, lambda peer, message: peer.send(m.Pong(message.number)))


@bug("liveness", 15)
def an_end_wakes_only_the_first_who_waits(patch: pytest.MonkeyPatch) -> None:
    real = Waiters.pop
    patch.setattr(Waiters, "pop", lambda self, job_id: real(self, job_id)[:1])


@bug("liveness", 0)
def waiting_again_for_a_job_that_ended_meanwhile_is_not_answered(patch: pytest.MonkeyPatch) -> None:
    real = waiting._waiting

    def answer(peer: Peer, message: m.Wait, reply: Any) -> None:
        alive, ended, missing = reply
        real(peer, message, (alive, ended[:0] if len(message.jobs) > 1 else ended, missing))

    patch.setattr(waiting, "_waiting", answer)


# --- the wire -----------------------------------------------------------------------------------------------------


@bug("liveness", 19)
def a_connection_that_says_nothing_is_waited_for(patch: pytest.MonkeyPatch) -> None:
    async def keep_heard(self: Link, ttl_ms: int, scope: Any) -> None:
        number = 0
        while True:
            number += 1
            self.send_nowait(m.Ping(number))
            await asyncio.sleep(ttl_ms / 3000)

    patch.setattr(Link, "_keep_heard", keep_heard)


# --- the client ---------------------------------------------------------------------------------------------------


@bug("I14", 2)
def a_submit_that_is_sent_again_looks_like_a_new_one(patch: pytest.MonkeyPatch) -> None:
    real = Submitter._send_more

    def send_more(self: Submitter) -> None:
        for parcel in self._waiting:
            for item in parcel.items:
                item.flags &= ~int(m.SubmitFlag.RESEND)
        real(self)

    patch.setattr(Submitter, "_send_more", send_more)


@bug("I1", 0)
def a_submit_counts_as_accepted_when_its_connection_is_lost(patch: pytest.MonkeyPatch) -> None:
    real = Submitter.connected

    def connected(self: Submitter) -> None:
        for parcel in self._in_flight.values():
            for receipt in parcel.receipts:
                receipt.accepted()
        real(self)

    patch.setattr(Submitter, "connected", connected)


@bug("liveness", 9)
def nobody_asks_for_the_ends_again_after_a_reconnect(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Endings, "ask_all", lambda self, unanswered: None)


@bug("liveness", 0)
def a_question_is_not_asked_again_after_a_reconnect(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Questions, "connected", lambda self: None)


# --- the worker ---------------------------------------------------------------------------------------------------


@bug("liveness", 1)
def a_worker_that_returns_does_not_say_what_it_can_take(patch: pytest.MonkeyPatch) -> None:
    real = Session._tell_capacity

    def tell(self: Session) -> None:
        if not self.welcomed.is_set():
            real(self)

    patch.setattr(Session, "_tell_capacity", tell)


@bug("I6", 0)
def a_worker_hears_of_a_cancel_only_when_it_returns(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Session, "_cancel", lambda self, message: None)


@bug("I7", 1)
def ends_that_were_sent_and_not_answered_are_dropped_with_the_connection(patch: pytest.MonkeyPatch) -> None:
    real = SettleBox.resume

    def resume(self: SettleBox) -> Any:
        self._sent.clear()
        return real(self)

    patch.setattr(SettleBox, "resume", resume)


@bug("I8", 12)
def a_run_that_is_held_is_offered_again_after_a_reconnect(patch: pytest.MonkeyPatch) -> None:
    real = Session._welcomed

    def welcomed(self: Session, welcome: m.Welcome) -> None:
        held = self._runners.held()
        real(self, welcome)
        self._runners.offer(held)

    patch.setattr(Session, "_welcomed", welcomed)


@bug("I7", 3)
def a_worker_gives_back_what_is_done_when_it_returns(patch: pytest.MonkeyPatch) -> None:
    real = SettleBox.put

    def put(self: SettleBox, item: m.SettleItem) -> None:
        real(self, item if self._outlet.connected else m.SettleItem(item.job, item.fence, m.RunEnd.RELEASED))

    patch.setattr(SettleBox, "put", put)


@bug("defect", 1_019)
def the_log_is_cut_before_the_archive_has_what_ended_in_it(patch: pytest.MonkeyPatch) -> None:
    async def at_once(self: Overlay, position: int) -> None:
        return None

    patch.setattr(Overlay, "archived", at_once)


# --- bulks, children, times that pass, and a disk with too little room -----------------------------------------------


@bug("liveness", 0)
def parts_of_a_bulk_are_not_sent_again(patch: pytest.MonkeyPatch) -> None:
    real = Submitter.connected

    def connected(self: Submitter) -> None:
        whole = (m.Submit, m.SubmitAtomic)
        self._in_flight = {number: each for number, each in self._in_flight.items() if each.saying in whole}
        real(self)

    patch.setattr(Submitter, "connected", connected)


@bug("I2", 2)
def a_bulk_counts_as_accepted_when_all_its_parts_are_there(patch: pytest.MonkeyPatch) -> None:
    async def finish(self: BulkSubmit) -> None:
        await self._send_parts()
        while self._under_way:
            await self._answered()

    patch.setattr(BulkSubmit, "_finish", finish)


@bug("I14", 0)
def a_child_has_another_id_when_its_parent_runs_again(patch: pytest.MonkeyPatch) -> None:
    real, calls = Family.next_id, itertools.count()

    def next_id(self: Family, namespace: str, queue: str, task: str, body: bytes) -> bytes:
        return real(self, namespace, queue, task, body + next(calls).to_bytes(4, "big"))

    patch.setattr(Family, "next_id", next_id)


@bug("I37", 0)
def nobody_is_told_whose_child_a_job_is(patch: pytest.MonkeyPatch) -> None:
    real = submits._asked_terms
    orphaned = {"parent": b"", "inherits": False}
    patch.setattr(submits, "_asked_terms", lambda extra: msgspec.structs.replace(real(extra), **orphaned))


@bug("I36", 1)
def a_task_is_not_told_its_deadline(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(calls, "deadline_of", lambda item: 0)


@bug("liveness", 15)
def the_door_stays_shut_when_there_is_room_again(patch: pytest.MonkeyPatch) -> None:
    real = DiskWatch.look
    patch.setattr(DiskWatch, "look", lambda self: real(self) and self.low is not None)


# --- errors that nobody expects -------------------------------------------------------------------------------------


@bug("defect", 0)
def every_fourth_submit_raises(patch: pytest.MonkeyPatch) -> None:
    real, submits = Queue.submit, itertools.count(1)

    async def submit(self: Queue, task: Any, /, *args: Any, **kwargs: Any) -> Any:
        if next(submits) % 4 == 0:
            raise RuntimeError("a bug of the client")
        return await real(self, task, *args, **kwargs)

    patch.setattr(Queue, "submit", submit)


@bug("defect", 0)
def a_worker_breaks_down_over_a_cancel(patch: pytest.MonkeyPatch) -> None:
    def cancel(self: Session, message: m.CancelRun) -> None:
        raise RuntimeError("a bug of the worker")

    patch.setattr(Session, "_cancel", cancel)


@bug("defect", 0)
def a_worker_cannot_read_every_ninth_run(patch: pytest.MonkeyPatch) -> None:
    real, runs = calls.context_of, itertools.count(1)

    def context_of(item: m.DeliverItem, *rest: Any) -> Any:
        if next(runs) % 9 == 0:
            raise RuntimeError("a bug of the worker")
        return real(item, *rest)

    patch.setattr(calls, "context_of", context_of)
