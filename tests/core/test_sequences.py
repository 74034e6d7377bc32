"""Every sequence of four commands over two jobs and two workers, from two beginnings.

Two sequences that lead to the same state, clocks and shell included, go on alike, so each state is expanded once; what
is judged after every command is the state, the journal by its own model, and the replay.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable

import pytest

from aioqueue.core import commands as c
from aioqueue.core.lanes import PriorityLane
from aioqueue.errors import Refused
from aioqueue.model.spec import RetryPolicy
from tests.support.scene import NAMESPACE, TTL_MS, Scene, job_id, new_job

DEPTH = 4
TWICE = RetryPolicy(attempts=2, base_ms=50, jitter=False)
Move = Callable[[Scene], None]


def ask(scene: Scene, command: c.Command) -> None:
    try:
        scene.ask(command)
    except Refused:
        # An answer like any other; that it changed nothing is judged with the rest.
        return


def settle(name: str, end: c.RunEnd, *, fence: int | None = None, retry: bool = True) -> Move:
    def move(scene: Scene) -> None:
        session = scene.partition.state.session_of.get(name.encode(), 0)
        held = scene.held.get(session, {})
        runs = [c.EndRun(key, fence or held[key], end, b"end", retry) for key in held] or [
            c.EndRun(job_id(1), fence or 1, end, b"end", retry)
        ]
        ask(scene, c.SettleRuns(session, runs))

    return move


def connect(name: str) -> Move:
    """A worker comes back, still holding what it was given first, and offers a slot."""

    def move(scene: Scene) -> None:
        session = scene.session(name)
        held = [c.HeldRun(key, fence) for key, fence in scene.held.get(session, {}).items()][:1]
        ask(scene, c.ResumeSession(session, held, []))
        ask(scene, c.OfferCapacity(session, 1, ("default",)))

    return move


def on_session(name: str, make: Callable[[int], c.Command]) -> Move:
    return lambda scene: ask(scene, make(scene.partition.state.session_of.get(name.encode(), 0)))


def returns_empty_handed(scene: Scene) -> None:
    session = scene.session("w1")
    ask(scene, c.ResumeSession(session, [], []))
    ask(scene, c.OfferCapacity(session, 2, ("default",)))


def moves_both_clocks(ms: int) -> Move:
    return lambda scene: scene.pass_ms(ms) and None


def restarts(scene: Scene) -> None:
    scene.restart()
    scene.step()


MOVES: dict[str, Move] = {
    "submit 1": lambda scene: ask(scene, c.SubmitJobs([new_job(1, retry=TWICE, known=c.Known.UNKNOWN)])),
    "submit 2 for later": lambda scene: ask(
        scene, c.SubmitJobs([new_job(2, retry=TWICE, delay_ms=50, known=c.Known.UNKNOWN)])
    ),
    "worker 1 succeeds": settle("w1", c.RunEnd.SUCCEEDED),
    "worker 1 fails": settle("w1", c.RunEnd.FAILED),
    "worker 2 gives back": settle("w2", c.RunEnd.RELEASED),
    "worker 2 settles with the first fence": settle("w2", c.RunEnd.SUCCEEDED, fence=1),
    "cancel 1": lambda scene: ask(scene, c.CancelJob(job_id(1), NAMESPACE)),
    "cancel 2": lambda scene: ask(scene, c.CancelJob(job_id(2), NAMESPACE)),
    "requeue 1": lambda scene: ask(scene, c.RequeueJob(job_id(1), NAMESPACE)),
    "worker 1 connects": connect("w1"),
    "worker 2 connects": connect("w2"),
    "worker 1 returns empty-handed": returns_empty_handed,
    "worker 1 dies": on_session("w1", lambda session: c.EndSession(session, c.SessionEnd.DIED)),
    "worker 2 leaves": on_session("w2", lambda session: c.EndSession(session, c.SessionEnd.GOODBYE)),
    "a moment passes": moves_both_clocks(60),
    "a ttl passes": moves_both_clocks(TTL_MS),
    "the wall clock is set back": lambda scene: scene.clock.jump(-40),
    "the broker restarts": restarts,
}
BEGINNINGS: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "both run": ("submit 1", "submit 2, its child", "a moment passes", "worker 1 connects", "worker 2 connects"),
}
# Only a beginning has it. Its deadline passes a moment after a ttl.
CHILD = {"parent": job_id(1), "inherits": True, "deadline_in_ms": TTL_MS + 100}
BEGINNING_MOVES: dict[str, Move] = MOVES | {
    "submit 2, its child": lambda scene: ask(
        scene, c.SubmitJobs([new_job(2, retry=TWICE, delay_ms=50, known=c.Known.UNKNOWN, **CHILD)])
    ),
}


def played(path: tuple[str, ...]) -> Scene:
    """The scene after a sequence; none of its commands is judged, for they were when they were last."""
    scene = Scene()
    scene.judging = False
    for name in path:
        BEGINNING_MOVES[name](scene)
    return scene


def shape(scene: Scene) -> str:
    """All that decides how a scene goes on."""
    state = scene.partition.state
    links = [(s.number, s.link.slots, s.link.heard_ms, s.link.since_fence) for s in state.sessions.values()]
    hungry = {key: [list(taker.hungry) for taker in pool.takers] for key, pool in state.pools.items()}
    # At which positions records stand decides nothing.
    journaled = {part: content for part, content in state.journaled_part().items() if part != "homes"}
    return repr((journaled, links, hungry, state.session_of, scene.held, scene.archive, scene.clock.now()))


def explore(beginning: tuple[str, ...], depth: int) -> int:
    """Judge every sequence; how many there were that differ."""
    seen = {shape(played(beginning))}
    level = [beginning]
    judged = 0
    for _ in range(depth):
        following: list[tuple[str, ...]] = []
        for path in level:
            # A copy costs half of what playing the sequence again does.
            before = pickle.dumps(played(path))
            for name, move in MOVES.items():
                scene: Scene = pickle.loads(before)
                move(scene)
                judged += 1
                scene.judge()
                form = shape(scene)
                if form not in seen:
                    seen.add(form)
                    following.append((*path, name))
        level = following
    return judged


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
def test_no_short_sequence_of_commands_breaks_a_promise(beginning: tuple[str, ...]) -> None:
    assert explore(beginning, DEPTH) > 5_000


def test_a_bug_in_the_lanes_is_found_by_a_short_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PriorityLane, "give_back", PriorityLane.push)
    beginning = ("submit 1", "submit 2 for later", "a moment passes", "worker 2 connects")
    with pytest.raises(AssertionError):
        explore(beginning, 3)
