"""The ledger of a soak finds a job that is not what it was promised to be."""

from __future__ import annotations

from pathlib import Path

from aioqueue import Queue
from tests.soak.ledger import Ledger

UNKNOWN = "018bcfe5-6800-7a3c-8000-000000000001"


async def test_the_audit_finds_a_lost_job_and_one_in_another_state(tmp_path: Path) -> None:
    queue = Queue("memory:")

    @queue.task
    async def noop() -> None: ...

    ledger = Ledger(tmp_path / "ledger")
    async with queue:
        good, wrong, late = [await queue.submit(noop) for _ in range(3)]
        for job in (good, wrong, late):
            await job
        ledger.acknowledge(good.id, "good", "succeeded")
        ledger.acknowledge(wrong.id, "wrong", "dead", "cancelled")
        # The last word counts.
        ledger.acknowledge(late.id, "late", "scheduled")
        ledger.acknowledge(late.id, "late", "cancelled", "succeeded")
        ledger.acknowledge(UNKNOWN, "lost", "succeeded")
        found = [await ledger.audit(queue.session(), entry) for entry in ledger.entries()]
    ledger.close()
    assert found == ["succeeded", "succeeded", "succeeded", "unknown"]
    assert dict(ledger.wrong) == {"wrong": 1, "lost": 1}
    assert f"wrong: {wrong.id} is succeeded, and may be dead or cancelled" in ledger.violations[0]
    assert f"lost: {UNKNOWN} is unknown, and may be succeeded" in ledger.violations[1]
