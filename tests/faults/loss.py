"""What can be lost on the way: every message of the protocol, and what is so on both sides when it is.

`LOSSES` is the truth of `docs/internals/losses.md`, and each row is a test in `test_losses.py`, once with the
connection cut just before the message and once just after it. `python -m tests.faults.loss` prints the page's table.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from aioqueue.protocol import messages as m


class Outcome(NamedTuple):
    """What is so after the connection was lost and made again.

    `leases` is how often the broker may have given the job out, `starts` how often its function was called; both count
    over all generations of the job.
    """

    broker: str
    peer: str
    leases: tuple[int, ...] = (1,)
    starts: int = 1

    @property
    def leases_text(self) -> str:
        return " or ".join(map(str, self.leases))


class Loss(NamedTuple):
    """One message that may be lost. `scene` is how a test brings it about; `says` is who sends it.

    `before` holds where the message itself was lost, `after` where it arrived and nothing after it did. `kill` says
    that the broker is also killed at both instants, instead of the connection being cut.
    """

    message: type[Any]
    scene: str
    role: m.Role
    says: str
    before: Outcome
    after: Outcome
    kill: bool = False


_CLIENT, _WORKER, _HEARTBEAT = m.Role.CLIENT, m.Role.WORKER, m.Role.HEARTBEAT
_ASKS_AGAIN: Final = "asks again, and is answered"
_AGAIN: Final = "knows the id, adds nothing"
_UNCHANGED: Final = "has nothing new"
_RUNS_ON: Final = "the run goes on, and is kept by the next Resume"

LOSSES: Final = (
    # --- beginning ---
    Loss(
        m.Hello, "greet", _CLIENT, "client",
        Outcome("knows the session no better than before", "says Hello again, and what was not answered"),
        Outcome("has seated the session; the next Hello takes its place", "says Hello again with the same secret"),
    ),
    Loss(
        m.Welcome, "greet", _CLIENT, "broker",
        Outcome("has seated the session; the next Hello takes its place", "says Hello again with the same secret"),
        Outcome("forgets the connection and keeps the session", "says Hello again, and what was not answered"),
    ),
    # --- submitting ---
    Loss(
        m.Submit, "submit", _CLIENT, "client",
        Outcome("never heard of the job, then accepts it", "sends it again, marked RESEND"),
        Outcome("accepted the job once; the second time it " + _AGAIN, "sends it again, marked RESEND"),
        kill=True,
    ),
    Loss(
        m.Submitted, "submit", _CLIENT, "broker",
        Outcome("accepted the job once; the second time it " + _AGAIN, "sends it again, marked RESEND"),
        Outcome("accepted the job once", "has its answer and sends nothing again"),
        kill=True,
    ),
    Loss(
        m.SubmitAtomic, "submit-many", _CLIENT, "client",
        Outcome("never heard of the jobs, then accepts all", "sends all of them again, marked RESEND"),
        Outcome("accepted all once; the second time it " + _AGAIN, "sends all of them again, marked RESEND"),
        kill=True,
    ),
    Loss(
        m.Submitted, "submit-many", _CLIENT, "broker",
        Outcome("accepted all once; the second time it " + _AGAIN, "sends all of them again, marked RESEND"),
        Outcome("accepted all once", "has its answer and sends nothing again"),
        kill=True,
    ),
    Loss(
        m.BulkStage, "submit-bulk", _CLIENT, "client",
        Outcome("never heard of the part, then takes it", "says the part again, marked RESEND"),
        Outcome("took the part once; the second time it knows its number", "says the part again, marked RESEND"),
        kill=True,
    ),
    Loss(
        m.BulkCommit, "submit-bulk", _CLIENT, "client",
        Outcome("lets the jobs wait for the word", "says the word again"),
        Outcome("committed the bulk once; then it is known, or its first job is", "says the word again"),
        kill=True,
    ),
    Loss(
        m.BulkDrop, "drop-bulk", _CLIENT, "client",
        Outcome("cancels the jobs when nothing was heard of the bulk for two hours", "had raised its error", (0,), 0),
        Outcome("cancelled the jobs", "had raised its error", (0,), 0),
    ),
    Loss(
        m.Refusal, "refuse", _CLIENT, "broker",
        Outcome("refused and changed nothing", "asks again, and is refused again"),
        Outcome("refused and changed nothing", "has its refusal"),
    ),
    Loss(
        m.ReadBackup, "backup", _CLIENT, "client",
        Outcome("has begun no copy", "asks for the first part again"),
        Outcome("ends the copy with its connection, and begins another", "asks for the first part again"),
    ),
    Loss(
        m.BackupPart, "backup", _CLIENT, "broker",
        Outcome("ends the copy with its connection, and begins another", "asks for the first part again"),
        Outcome("ends the copy with its connection", "is told that the backup failed, unless that was the last part"),
    ),
    # --- working ---
    Loss(
        m.Capacity, "offer", _WORKER, "worker",
        Outcome("gives the worker nothing until it has told its capacity", "tells it after the next Welcome"),
        Outcome("may have given the job out, and then gives it back in place", "is given the job then", (1, 2)),
    ),
    Loss(
        m.Declare, "declare", _WORKER, "worker",
        Outcome("gives the worker nothing until it has told its capacity", "declares after the next Welcome", (1, 2)),
        Outcome("heard what the worker knows, for that connection only", "declares after the next Welcome", (1, 2)),
    ),
    Loss(
        m.Declared, "declare", _WORKER, "broker",
        Outcome("heard what the worker knows, for that connection only", "declares after the next Welcome", (1, 2)),
        Outcome("heard what the worker knows, for that connection only", "declares after the next Welcome", (1, 2)),
    ),
    Loss(
        m.DescribeTasks, "describe", _WORKER, "worker",
        Outcome("wants the descriptions when they are declared again", "describes what is wanted", (1, 2)),
        Outcome("registered the tasks once; it wants them no more", "has nothing to describe", (1, 2)),
    ),
    Loss(
        m.Deliver, "work", _WORKER, "broker",
        Outcome("gives back in place what Resume does not name: no attempt is spent", "never began it", (2,)),
        Outcome("keeps the lease that Resume names", _RUNS_ON),
        kill=True,
    ),
    Loss(
        m.Resume, "resume", _WORKER, "worker",
        Outcome("keeps the leases of the session until it resumes", "says Resume again, with all it holds"),
        Outcome("answered what nobody heard; the next Resume is answered the same", "says Resume again"),
    ),
    Loss(
        m.Resumed, "resume", _WORKER, "broker",
        Outcome("answered what nobody heard; the next Resume is answered the same", "says Resume again"),
        Outcome("kept the lease", _RUNS_ON),
    ),
    Loss(
        m.Resume, "resume-with-end", _WORKER, "worker",
        Outcome("keeps the lease until it is told the end", "tells the end in the next Resume"),
        Outcome("recorded the end once; the second time it answers ALREADY", "tells the end in the next Resume"),
    ),
    Loss(
        m.Resumed, "resume-with-end", _WORKER, "broker",
        Outcome("recorded the end once; the second time it answers ALREADY", "tells the end in the next Resume"),
        Outcome("recorded the end once", "forgets the end, which was answered"),
    ),
    Loss(
        m.Settle, "work", _WORKER, "worker",
        Outcome("keeps the lease until Resume tells the end", "keeps the end, and tells it in Resume"),
        Outcome("recorded the end once; Resume is answered ALREADY", "keeps the end, and tells it in Resume"),
        kill=True,
    ),
    Loss(
        m.Settled, "work", _WORKER, "broker",
        Outcome("recorded the end once; Resume is answered ALREADY", "keeps the end, and tells it in Resume"),
        Outcome("recorded the end once", "forgets the end, which was answered"),
        kill=True,
    ),
    Loss(
        m.CancelRun, "stop", _WORKER, "broker",
        Outcome("says in Resumed that the run is to be cancelled", "stops the run when it has resumed"),
        Outcome("recorded that the job is cancelled", "stops the run"),
    ),
    Loss(
        m.Goodbye, "leave", _WORKER, "worker",
        Outcome("holds no lease of the session, which ends by its time", "had given its runs back, and ends", (2,), 2),
        Outcome("ends the session", "had given its runs back, and ends", (2,), 2),
    ),
    # --- heartbeats ---
    Loss(
        m.Beat, "beat", _HEARTBEAT, "supervisor",
        Outcome("heard of the session over its other connection", "beats over a new connection"),
        Outcome("heard of the session", "beats over a new connection"),
    ),
    Loss(
        m.WorkerDied, "death", _HEARTBEAT, "supervisor",
        Outcome("counts one crash and no attempt when it is told at last", "tells the death again", (2,), 2),
        Outcome("counted one crash and no attempt; told again it counts nothing", "tells the death again", (2,), 2),
    ),
    # --- waiting and looking ---
    Loss(
        m.Wait, "wait", _CLIENT, "client",
        Outcome("does not know that somebody waits", "asks for the end again"),
        Outcome("forgets who waited over that connection", "asks for the end again"),
        kill=True,
    ),
    Loss(
        m.Ended, "wait", _CLIENT, "broker",
        Outcome("tells the end to whoever asks again", "asks for the end again"),
        Outcome("told the end", "has the result"),
        kill=True,
    ),
    Loss(
        m.GetJob, "look", _CLIENT, "client",
        Outcome(_UNCHANGED, _ASKS_AGAIN), Outcome(_UNCHANGED, _ASKS_AGAIN),
    ),
    Loss(
        m.JobRecord, "look", _CLIENT, "broker",
        Outcome(_UNCHANGED, _ASKS_AGAIN), Outcome(_UNCHANGED, "has its answer"),
    ),
    Loss(
        m.ListControl, "by-name", _CLIENT, "client",
        Outcome(_UNCHANGED, _ASKS_AGAIN),
        Outcome(_UNCHANGED, _ASKS_AGAIN),
    ),
    Loss(
        m.ControlPage, "by-name", _CLIENT, "broker",
        Outcome(_UNCHANGED, _ASKS_AGAIN),
        Outcome(_UNCHANGED, "has its answer"),
    ),
    Loss(
        m.FindJobs, "list", _CLIENT, "client",
        Outcome(_UNCHANGED, _ASKS_AGAIN), Outcome(_UNCHANGED, _ASKS_AGAIN),
    ),
    Loss(
        m.JobPage, "list", _CLIENT, "broker",
        Outcome(_UNCHANGED, _ASKS_AGAIN), Outcome(_UNCHANGED, "has its answer"),
    ),
    Loss(
        m.Watch, "watch", _CLIENT, "client",
        Outcome("sends nothing until it is asked", "asks again for statistics"),
        Outcome("forgets who watched over that connection", "asks again for statistics"),
    ),
    Loss(
        m.StatisticsUpdate, "watch", _CLIENT, "broker",
        Outcome("forgets who watched over that connection", "asks again for statistics"),
        Outcome("forgets who watched over that connection", "has the figures, and asks again for later ones"),
    ),
    # --- cancelling and requeueing ---
    Loss(
        m.CancelJob, "cancel", _CLIENT, "client",
        Outcome("keeps the job as it was, then cancels it", _ASKS_AGAIN, (0,), 0),
        Outcome("cancelled the job once; asked again it says `cancelled`", _ASKS_AGAIN, (0,), 0),
    ),
    Loss(
        m.Cancelled, "cancel", _CLIENT, "broker",
        Outcome("cancelled the job once; asked again it says `cancelled`", _ASKS_AGAIN, (0,), 0),
        Outcome("cancelled the job once", "has its answer", (0,), 0),
    ),
    Loss(
        m.RetryJob, "retry", _CLIENT, "client",
        Outcome("keeps the dead job, then brings it back once", _ASKS_AGAIN, (2,), 2),
        Outcome("brought the job back once; that generation is there when asked again", _ASKS_AGAIN, (2,), 2),
    ),
    Loss(
        m.Requeued, "retry", _CLIENT, "broker",
        Outcome("brought the job back once; that generation is there when asked again", _ASKS_AGAIN, (2,), 2),
        Outcome("brought the job back once", "has its answer", (2,), 2),
    ),
    # --- what keeps a connection, and what ends it ---
    Loss(
        m.Ping, "ping", _CLIENT, "client",
        Outcome("heard nothing of the session for a while", "pings over a new connection"),
        Outcome("heard of the session", "pings over a new connection"),
    ),
    Loss(
        m.Pong, "ping", _CLIENT, "broker",
        Outcome("heard of the session", "pings over a new connection"),
        Outcome("heard of the session", "pings over a new connection"),
    ),
    Loss(
        m.Closing, "restart", _CLIENT, "broker",
        Outcome("has written all that it acknowledged, and stops", "connects again, to the next broker"),
        Outcome("has written all that it acknowledged, and stops", "connects again, to the next broker"),
    ),
)  # fmt: skip


def table() -> str:
    """The table of the page."""
    lines = ["| message | said by | lost with it | the broker | the other side | leases | starts |"]
    lines.append("|---|---|---|---|---|---|---|")
    for loss in LOSSES:
        for lost, outcome in (("the message", loss.before), ("all after it", loss.after)):
            lines.append(
                f"| {loss.message.__name__} ({loss.scene}) | {loss.says} | {lost} | {outcome.broker} | {outcome.peer} "
                f"| {outcome.leases_text} | {outcome.starts} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
