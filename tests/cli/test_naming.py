"""A part of an id, on a command line: what it finds, and what is said where it finds none, or several."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from aioqueue.cli import naming
from aioqueue.cli.naming import whole_id
from aioqueue.client.filters import Filter
from aioqueue.errors import AmbiguousId, JobNotFound
from aioqueue.model.ids import id_text
from aioqueue.protocol.messages import JobPage
from tests.support.examples import INFO
from tests.support.shell import Shell


class Broker:
    """Answers with pages of jobs; an older one does not know of the ends of ids, and tells of all."""

    def __init__(self, *jobs: bytes, older: bool = False, size: int = 2) -> None:
        self.jobs = jobs
        self.older = older
        self.size = size
        self.pages_told = 0
        self.asked: list[Filter] = []

    def session(self) -> Any:
        return SimpleNamespace(questions=self)

    async def pages(self, where: Filter) -> AsyncIterator[JobPage]:
        self.asked.append(where)
        wanted = [
            job
            for job in self.jobs
            if job.hex().startswith(where.id_prefix) and (self.older or job.hex().endswith(where.id_suffix))
        ]
        for start in range(0, len(wanted) + 1, self.size):
            self.pages_told += 1
            infos = [replace(INFO, id=job) for job in wanted[start : start + self.size]]
            yield JobPage(1, infos, b"more" if start + self.size <= len(wanted) else b"")


def found(broker: Broker, written: str) -> Any:
    return whole_id(broker, written)  # type: ignore[arg-type]


A = bytes.fromhex("018bcfe5680077818000000000000abc")
B = bytes.fromhex("018bcfe6680077818000000000000def")
C = bytes.fromhex("385ef8f38b2787819954018bcfe66800")


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("018bcfe5", A),
        ("018BCFE5-68", A),
        ("018bcfe6-6800-7781", B),
        ("385e", C),
        ("000000000abc", A),
        ("000000000DEF", B),
        # Twelve digits may be either.
        ("018bcfe56800", A),
        (C.hex()[:-1], C),
    ],
)
@pytest.mark.parametrize("older", [False, True], ids=["", "an older broker"])
async def test_a_part_of_an_id_is_the_id_of_the_one_job_that_has_it(written: str, wanted: bytes, older: bool) -> None:
    assert await found(Broker(A, B, C, older=older), written) == id_text(wanted)


@pytest.mark.parametrize("written", ["018", "", "invoice-42", id_text(A), A.hex(), "018bcfeg", "0" * 40])
async def test_what_is_no_part_of_an_id_is_taken_as_it_is(written: str) -> None:
    broker = Broker(A, B, C)
    assert await found(broker, written) == written
    assert broker.asked == []


async def test_several_jobs_and_none_are_two_errors() -> None:
    with pytest.raises(AmbiguousId) as several:
        await found(Broker(A, B, C), "018bcfe")
    assert str(several.value) == f"2 jobs have ids like 018bcfe: {id_text(A)}, {id_text(B)}; write more of the id"
    with pytest.raises(AmbiguousId) as either:
        await found(Broker(A, B, C), "018bcfe66800")
    assert (either.value.code, either.value.count) == ("ambiguous_id", "2")
    with pytest.raises(JobNotFound, match="no job here has an id like 9999; for one of your own"):
        await found(Broker(A, B, C), "9999")
    with pytest.raises(JobNotFound):
        await found(Broker(A, B, C), "999999999999")


async def test_no_more_are_listed_than_a_person_reads() -> None:
    broker = Broker(*(A[:15] + bytes([number]) for number in range(200)))
    with pytest.raises(AmbiguousId, match="5 or more jobs have ids like 018b"):
        await found(broker, "018b")
    assert broker.pages_told == 3


async def test_a_job_that_is_told_of_twice_is_one() -> None:
    assert await found(Broker(A, A, B), "018bcfe5") == id_text(A)


async def test_the_search_among_very_many_jobs_ends_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "PAGES_MAX", 4)
    broker = Broker(*[bytes(16)] * 100, older=True)
    with pytest.raises(JobNotFound, match=r"too many jobs to look through all of them.*write the whole id"):
        await found(broker, "0123456789ab")
    assert broker.pages_told <= 5


async def test_a_long_word_is_not_repeated_whole() -> None:
    written = "-" * 5_000 + "01a2"
    with pytest.raises(JobNotFound) as refused:
        await found(Broker(A), written)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("command", ["show", "cancel", "retry"])
def test_every_command_about_jobs_takes_a_part_of_an_id(at_shop: Shell, folder: Path, command: str) -> None:
    job_id = at_shop.run("submit", "shop:fail", "no", "--wait", "--json").json["id"]
    whole = at_shop.run(command, job_id, "--json")
    assert whole.code == 0
    if command == "retry":
        at_shop.run("cancel", job_id, "--wait", "10s")
    for part in (job_id[:-2], job_id[-12:]):
        ended = at_shop.run(command, part, "--json")
        assert ended.json["id"] == job_id if ended.code == 0 else job_id in ended.err


@pytest.mark.parametrize("command", ["show", "cancel", "retry"])
def test_a_part_that_no_id_has_and_one_that_several_have_are_two_sentences(at_shop: Shell, command: str) -> None:
    ids = [at_shop.run("submit", "shop:wait_elsewhere").out.strip() for _ in range(2)]
    shared = next(length for length in range(36, 0, -1) if ids[0][:length] == ids[1][:length])
    assert "write more of the id" in at_shop.run(command, ids[0][: max(4, shared)]).refused()
    unknown = str(uuid.UUID(int=7))[-12:]
    assert f"no job here has an id like {unknown}" in at_shop.run(command, unknown).refused()
