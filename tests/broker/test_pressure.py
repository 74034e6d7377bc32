"""More than the broker should hold: who is refused, who is slowed, and who never notices."""

from __future__ import annotations

from aioqueue.core.admission import BacklogLimits
from aioqueue.protocol import messages as m
from tests.broker.conftest import RESULT, House, item, running

ACCEPTED, EXISTS, REFUSED = m.Outcome.ACCEPTED, m.Outcome.EXISTS, m.Outcome.REFUSED


async def test_a_full_broker_refuses_item_by_item_and_says_how_full_it_is(house: House) -> None:
    async with running(house, limits=BacklogLimits(2, 1_000_000)) as at:
        client = await at.peer()
        jobs = [item() for _ in range(3)]
        foreign = item(namespace="theirs")
        answer = await client.submit(foreign, *jobs)

        assert answer.outcomes == [REFUSED, ACCEPTED, ACCEPTED, REFUSED]
        assert [(refusal.index, refusal.code) for refusal in answer.refused] == [
            (0, "wrong_namespace"), (3, "queue_full"),
        ]  # fmt: skip
        assert answer.refused[1].fields["jobs_max"] == 2
        again = m.SubmitItem(jobs[0].job, jobs[0].spec, jobs[0].args, m.SubmitFlag.RESEND)
        assert (await client.submit(again, item())).outcomes == [EXISTS, REFUSED]


async def test_an_atomic_submit_is_refused_as_a_whole_and_there_is_room_when_a_job_has_ended(house: House) -> None:
    async with running(house, limits=BacklogLimits(1, 1_000_000)) as at:
        client, worker = await at.peer(), await at.worker(1)
        await client.submit(item())
        client.say(m.SubmitAtomic(client.ask(), [item()]))
        assert (await client.hear(m.Refusal)).code == "queue_full"

        [run] = await worker.runs()
        await worker.settle(m.SettleItem(run.job, run.fence, m.RunEnd.SUCCEEDED, RESULT))
        client.say(m.SubmitAtomic(client.ask(), [item()]))
        await client.hear(m.Submitted)
