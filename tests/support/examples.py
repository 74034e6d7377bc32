"""One example of every message, with every field set: what the golden frames and the protocol's reference show.

`python -m tests.support.examples` writes the golden frames that are missing. It never changes one that is there: those
bytes are in use. A new version of the protocol gets a new directory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, get_args

from aioqueue.model.states import Cause
from aioqueue.model.views import (
    AdmissionStatistics,
    Attempt,
    Block,
    Failure,
    JobInfo,
    QueueStatistics,
    RecentFailure,
    Run,
    RunningJob,
    Statistics,
    WorkerStatistics,
)
from aioqueue.protocol import messages as m
from aioqueue.protocol.codec import Codec

GOLDEN: Final = Path(__file__).parents[1] / "golden" / "frames-v1"

JOB: Final = bytes.fromhex("018bcfe5680077818000000000000001")
OTHER: Final = bytes.fromhex("018bcfe5680077818000000000000002")
# The id of a caller's own "invoice-42" in queue mail of namespace default.
OWN: Final = bytes.fromhex("385ef8f38b2787819954b7b090c3149f")
SECRET: Final = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
JOURNAL: Final = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
# The spec ["default", "mail", "app.send", 5, 0, -1, [5, "exponential", 1000, 2.0, 300000, true]].
SPEC: Final = bytes.fromhex(
    "97a764656661756c74a46d61696ca86170702e73656e640500ff9605ab6578706f6e656e7469616ccd03e8cb4000000000000000ce000493e0c3"
)
# The arguments [[42], {}] behind the byte of their codec.
ARGS: Final = bytes.fromhex("0192912a80")
FAILURE: Final = Failure("ValueError", "no", "Traceback", True)

BLOCK: Final = Block(JOB, "app.send", "app.py:12 in send", 1_200)

INFO: Final = JobInfo(
    OWN, "invoice-42", "default", "mail", "app.send", "dead", 5, 1_700_000_000_000, 0, 1_700_000_000_001,
    1_700_000_000_002, 1, 0, 1, 0, "worker-1", {"trace": "x"}, FAILURE,
    [Attempt(1, "failed", 1_700_000_000_001, 1_700_000_000_002, "worker-1", FAILURE)], BLOCK,
    1_700_000_001_000, 1_700_000_002_000, OTHER, "its deadline passed", ["worker-2"], 3, ARGS, 5,
    "no worker of queue mail is connected",
)  # fmt: skip
RUN: Final = Run(
    1, 0, 1, "failed", "worker-1", 1_700_000_000_000, 1_700_000_000_001, 1_700_000_000_002, FAILURE
)  # fmt: skip
STATISTICS: Final = Statistics(
    1_700_000_000_000, 1_699_999_000_000, 77, 2,
    [QueueStatistics("default", "mail", 3, 2, 1, 10, 3, 1, 1, 1)],
    [WorkerStatistics(4, "worker-1", ["mail"], 100, 1, True, 20, 3, BLOCK, 2, 1, True, 4)],
    [RunningJob(JOB, "app.send", "mail", "worker-1", 1, 15, BLOCK, "invoice-42")],
    [RecentFailure(OTHER, "app.send", "mail", 1_700_000_000_000, "ValueError", "no", True, "invoice-43")],
    1, AdmissionStatistics(6, 900, 1_000, 100_000, 5_000_000, 4_000_000, False), 3, 4, 40, 9_000, 1_500,
)  # fmt: skip

EXAMPLES: Final[tuple[m.Message, ...]] = (
    m.Ping(7),
    m.Pong(7),
    m.Refusal(3, "queue_full", "the queue is full", {"count": 5, "limit": 5}),
    m.Hello(
        1, 1, m.Role.WORKER, SECRET, "default", "worker-1", b"token", 3, 1, JOURNAL, 41,
        b"\x81\xa7version\xa50.1.0", bytes(range(8)), 2,
    ),
    m.Welcome(1, 4, False, JOURNAL, 2, 42, 10_000, 1, 1, 3),
    m.Goodbye("the program ends"),
    m.Closing("the broker stops"),
    m.Submit(1, [m.SubmitItem(JOB, SPEC, ARGS, 2, 1_500, 0, b"\x81\xa1k\xa1v", "", {1: b"\xa1u"})]),
    m.SubmitAtomic(2, [m.SubmitItem(OWN, SPEC, ARGS, 4, 0, 1_700_000_060_000, b"", "invoice-42")]),
    m.BulkStage(3, JOURNAL, 7, [m.SubmitItem(JOB, SPEC, ARGS)]),
    m.BulkCommit(4, JOURNAL, 8, JOB),
    m.BulkDrop(JOURNAL),
    m.Submitted(
        1, 42, [m.Outcome.ACCEPTED, m.Outcome.REFUSED], [m.ItemRefused(1, "bad_name", "no", {"name": "a b"})]
    ),
    m.Wait([JOB, OTHER]),
    m.Ended([m.EndedItem(JOB, 7, b"\x01\xc0"), m.EndedItem(OTHER, 9, b"", "", "not needed")], 43),
    m.GetJob(3, JOB, True, 4_096),
    m.JobRecord(3, INFO, [RUN]),
    m.FindJobs(
        4, [8], "mail", "app.send", 20, b"cursor", 1_700_000_000_000, 1_700_000_060_000, "385ef8", "Error: no", True,
        "b090c3149f00", 4_096,
    ),
    m.JobPage(4, [INFO], b"next", [[RUN]]),
    m.CancelJob(5, JOB, "not needed"),
    m.Cancelled(5, "cancelled", 44),
    m.RetryJob(6, JOB, 2),
    m.Requeued(6, 1, 45),
    m.Watch(True),
    m.StatisticsUpdate(STATISTICS),
    m.Resume(1, [m.HeldRun(JOB, 9)], [m.SettleItem(OTHER, 8, m.RunEnd.SUCCEEDED, b"\x01\xc0", True)]),
    m.Resumed(1, [m.Verdict.KEEP], [m.SettleAnswer.ALREADY], 46),
    m.Capacity(100, ["mail"], 0, 2),
    m.Declare(3, 1_500, [m.DeclaredTask("app.send", bytes(range(16)), m.SlotClass.PROCESS)], ["gpu"], True),
    m.DescribeTasks(4, [m.TaskBody("app.send", b"\x90")]),
    m.Declared(3, 46, [0]),
    m.Deliver(
        [m.DeliverItem(JOB, 9, 1, "app.send", ARGS, b"\x80", [b"\x01\xc0"], {2: b"\xa1g"}, 1, 0, 30_000, "mail")]
    ),
    m.Settle(2, [m.SettleItem(JOB, 9, m.RunEnd.FAILED, b"\x01\x94\xa1E\xa1t\xa0\xc3", False)], True),
    m.Settled(2, 47, [m.SettleAnswer.STALE], [m.Following(JOB, 2, 1, 5, 2_100)]),
    m.Beat(1_400, BLOCK, 2, [JOB]),
    m.WorkerDied("signal 9", 1, True),
    m.CancelRun(JOB, 9, Cause.DEADLINE),
    m.ReadBackup(7, 3),
    m.BackupPart(7, b"records", True),
    m.ListControl(8, 1, ["app.send"], "app.s", 100, True),
    m.ControlPage(8, 48, [m.TaskEntry("app.send", bytes(range(16)), b"\x90", 1_700_000_000_000)], True, 7),
)  # fmt: skip


# The dialogue that the reference shows: a client submits one job, a worker runs it, the client is told its end.
DIALOGUE: Final[dict[str, m.Message]] = {
    "client-hello": m.Hello(1, 1, m.Role.CLIENT, SECRET),
    "client-welcome": m.Welcome(1, 4, True, JOURNAL, 2, 41, 10_000),
    "submit": m.Submit(1, [m.SubmitItem(JOB, SPEC, ARGS, m.SubmitFlag.WANT_RESULT)]),
    "submitted": m.Submitted(1, 42),
    "capacity": m.Capacity(100, ["mail"]),
    "deliver": m.Deliver([m.DeliverItem(JOB, 9, 1, "app.send", ARGS, queue="mail")]),
    "settle": m.Settle(1, [m.SettleItem(JOB, 9, m.RunEnd.SUCCEEDED, b"\x01\xc0")]),
    "settled": m.Settled(1, 43),
    "ended": m.Ended([m.EndedItem(JOB, 7, b"\x01\xc0")], 43),
    "refusal": m.Refusal(0, "protocol_version", "upgrade", {"client_min": 2, "client_max": 3}),
}


def file_of(message: m.Message) -> Path:
    kind = type(message)
    return GOLDEN / f"{kind.__struct_config__.tag:03}-{kind.__name__}.hex"


def main() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for message in EXAMPLES:
        path = file_of(message)
        if not path.exists():
            path.write_text(Codec().encode(message).hex() + "\n", encoding="ascii")


CLIENT_TYPES: Final = get_args(m.ClientMessage)
BROKER_TYPES: Final = get_args(m.BrokerMessage)

if __name__ == "__main__":
    main()
