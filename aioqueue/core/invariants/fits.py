"""The promise about who may take a job (I22), as checks of one state; the part for a journal is in `turns`.

A job runs only where its fit is taken, and never waits beside a free slot that takes it. Judged by what sessions offer
and hold, one by one; not by pools, takers and lines, which are judged here too.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Final

from aioqueue.core.lanes import SplitLane
from aioqueue.core.nouns import Fit, Job, Offer, Session, SlotClass
from aioqueue.core.pools import Pool
from aioqueue.core.state import State
from aioqueue.limits import CRASHES_ALONE
from aioqueue.model.states import JobState

_BOTH: Final = (SlotClass.SHARED, SlotClass.PROCESS)


def takes(offer: Offer, job: Job) -> bool:
    """Whether who offers this may ever have the job."""
    spec = job.spec
    if spec.namespace != offer.namespace or not (spec.queue in offer.queues or (offer.all_queues and not offer.queues)):
        return False
    if spec.task in offer.shut or not set(spec.labels) <= offer.labels:
        return False
    return offer.tasks is None or spec.task in dict(offer.tasks.pairs)


def class_of(offer: Offer, fit: Fit) -> SlotClass:
    """The slots that a run of it takes."""
    return SlotClass.SHARED if offer.tasks is None else SlotClass(dict(offer.tasks.pairs).get(fit.task, 0))


def rooms_of(session: Session) -> tuple[SlotClass, ...]:
    """The classes of which the session has a free slot."""
    link = session.link
    held = [0, 0]
    for job in session.leases.values():
        held[class_of(link.offer, job.spec.fit)] += 1
    slots = (link.slots, link.process_slots if link.offer.mixed else 0)
    return tuple(each for each in _BOTH if slots[each] > held[each])


def check_lines(state: State) -> list[str]:
    """Lines that are split without need, and jobs that stand where nobody looks for them."""
    found: list[str] = []
    for key, queue in state.queues.items():
        lane = queue.lane
        picky = [taker for taker in queue.takers if not all(map(taker.takes, _fits_in(state, key)))]
        if any(not taker.is_picky(queue) for taker in picky):
            found.append(f"I22: somebody who does not take all that is in {key} looks at nothing there")
        if not isinstance(lane, SplitLane):
            continue
        if state.split.get(key) is not queue:
            found.append(f"I22: {key} is split, and nobody will join it")
        if not lane.own and not any(taker.is_picky(queue) for taker in queue.takers):
            found.append(f"I22: {key} is split, and everybody takes all that is in it")
        for fit, own in lane.own.items():
            if any(job.spec.fit != fit for job in own.in_order()) or not own.depth:
                found.append(f"I22: a line of {fit.task} in {key} is empty, or has others in it")
            unseen = [taker for taker in queue.takers if taker.takes(fit) and own not in _sources(taker.heads)]
            if unseen:
                found.append(
                    f"I22: a line of {fit.task} in {key} is seen by all but {len(unseen)} of those who take it"
                )
    found += [f"I22: {key} is split, and is no queue" for key in state.split if key not in state.queues]
    for offer, pool in state.pools.items():
        served = {key for key in state.queues if _serves(offer, key)}
        found += [
            f"I22: sessions of {offer} take from {sorted(taker.queues)}"
            for taker in pool.takers
            if {*taker.queues} != served
        ]
    return found


def _sources(heads: object) -> Container[object]:
    return getattr(heads, "sources", ())


def _serves(offer: Offer, key: tuple[str, str]) -> bool:
    return key[0] == offer.namespace and (key[1] in offer.queues or (offer.all_queues and not offer.queues))


def _fits_in(state: State, key: tuple[str, str]) -> Iterator[Fit]:
    return (job.spec.fit for job in state.jobs.values() if job.spec.key == key)


def check_idle(state: State, held: Container[bytes] | None) -> list[str]:
    """When nothing is left to do: the free slots that stand beside a ready job that they might have."""
    first: dict[tuple[tuple[str, str], Fit], Job] = {}
    suspects: list[Job] = []
    for job in state.jobs.values():
        if job.state is JobState.READY and job.crashes:
            suspects.append(job)
        elif job.state is JobState.READY:
            known = first.setdefault((job.spec.key, job.spec.fit), job)
            if _turn(job) < _turn(known):
                first[job.spec.key, job.spec.fit] = job
    suspects.sort(key=_turn)
    return [
        f"liveness: a ready job of {offer.namespace}/{','.join(offer.queues)} stands beside a free slot"
        for offer, pool in state.pools.items()
        if _is_idle(state, offer, pool, list(first.values()), suspects, held)
    ]


def _is_idle(
    state: State, offer: Offer, pool: Pool, plain: list[Job], suspects: list[Job], held: Container[bytes] | None
) -> bool:
    """Whether a session could have a job that is ready; one that drains for a suspect could not."""
    members = [state.sessions[number] for number in pool.members]
    hungry = [(each, rooms_of(each)) for each in members if not each.alone and not each.link.throttled]
    # Of those of a queue that are alike the first is due, or a child of it.
    mine = _firsts(offer, [job for job in suspects if takes(offer, job)])
    if held is not None and any(job.id not in held for job in _with_children(state, offer, mine)):
        return False
    lonely = [job for job in mine if job.crashes >= CRASHES_ALONE]
    spare = int(bool(lonely) and not any(each.alone for each in members))
    idle = beside = 0
    for session, rooms in hungry:
        may = [job for job in plain if takes(offer, job) and class_of(offer, job.spec.fit) in rooms]
        if may and held is not None and min(may, key=_turn).id not in held:
            continue
        idle += bool(may)
        if not session.leases and any(class_of(offer, job.spec.fit) in rooms for job in lonely):
            return True
        if not session.suspects and any(
            class_of(offer, job.spec.fit) in rooms and job.crashes < CRASHES_ALONE and not _children(state, offer, job)
            for job in mine
        ):
            beside += 1
    return idle > spare or beside > spare


def _firsts(offer: Offer, suspects: list[Job]) -> list[Job]:
    firsts: dict[tuple[tuple[str, str], SlotClass, bool], Job] = {}
    for job in suspects:
        firsts.setdefault((job.spec.key, class_of(offer, job.spec.fit), job.crashes >= CRASHES_ALONE), job)
    return list(firsts.values())


def _children(state: State, offer: Offer, parent: Job) -> list[Job]:
    """Those who go before it: its ready children that are suspects as well."""
    children = [state.jobs[child] for child in state.families.get(parent.id, ())]
    return [job for job in children if job.crashes and job.state is JobState.READY and takes(offer, job)]


def _with_children(state: State, offer: Offer, suspects: list[Job]) -> list[Job]:
    # The list grows as it is walked: children of children too.
    found = list(suspects)
    for job in found:
        found += [child for child in _children(state, offer, job) if child not in found]
    return found


def _turn(job: Job) -> tuple[int, int]:
    return -job.spec.priority, job.seq
