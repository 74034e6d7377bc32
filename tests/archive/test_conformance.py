"""What every archive promises, asked of both."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from aioqueue.archive.base import Archive, JobFilter, Tombstone
from aioqueue.archive.shelves import matches, print_of
from aioqueue.errors import ArchiveFailed, BadOption
from aioqueue.limits import KEEP_ACTS_MS, KEEP_DEAD_MS, KEEP_SUCCEEDED_MS, TOMBSTONE_MS
from aioqueue.model.bodies import pack_failure
from aioqueue.model.ids import EVERY_ID, own_id
from aioqueue.model.records import Act, FinishedJob, Terms
from aioqueue.model.states import TERMINAL, JobState
from aioqueue.model.views import Failure
from tests.support.finished import DAY_MS, HOUR_MS, START_MS, act, ended, finished, job_id, logged

ANY = JobFilter("default")
PLENTY = 10 << 30


async def all_pages(archive: Archive, where: JobFilter, limit: int) -> list[FinishedJob]:
    jobs: list[FinishedJob] = []
    after = b""
    while True:
        page, after = await archive.page(where, limit, after)
        assert len(page) <= limit
        jobs += page
        if not after:
            return jobs


async def retain_all(archive: Archive, now_ms: int, bytes_max: int = PLENTY, rows_max: int = 10) -> int:
    removed = 0
    while step := await archive.retain(now_ms, rows_max, bytes_max):
        removed += step
    return removed


# --- writing ------------------------------------------------------------------------------------------------------


async def test_a_new_archive_is_synced_to_nothing(archive: Archive) -> None:
    assert archive.synced == 0


async def test_a_written_job_comes_back_as_it_was(archive: Archive) -> None:
    job = finished(1, JobState.DEAD, args=b"\x01args", extra=b"extra", failures=5, crashes=2, generation=3, keep_ms=0)
    await archive.write([job], [], [], 7)
    assert await archive.get([job.id]) == {job.id: job}


@pytest.mark.parametrize("state", sorted(TERMINAL))
async def test_every_way_to_end_is_kept(archive: Archive, state: JobState) -> None:
    job = finished(1, state)
    await archive.write([job], [], [], 1)
    assert await archive.get([job.id]) == {job.id: job}


async def test_synced_is_the_position_of_the_last_write(archive: Archive) -> None:
    await archive.write([finished(1)], [], [], 7)
    await archive.write([], [], [], 9)
    assert archive.synced == 9


async def test_synced_never_falls(archive: Archive) -> None:
    await archive.write([], [], [], 9)
    await archive.write([finished(1)], [], [], 4)
    assert archive.synced == 9


async def test_the_same_rows_written_twice_change_nothing(archive: Archive) -> None:
    jobs = [finished(number, JobState.DEAD) for number in range(5)]
    runs = [ended(number, run) for number in range(5) for run in (1, 2)]
    await archive.write(jobs, runs, [], 5)
    await archive.write(jobs, runs, [], 5)
    assert await all_pages(archive, ANY, 10) == jobs[::-1]
    assert await archive.runs(job_id(3)) == [ended(3, 1), ended(3, 2)]


async def test_one_job_twice_in_a_bulk_is_one_job(archive: Archive) -> None:
    await archive.write([finished(1), finished(1)], [ended(1), ended(1)], [], 1)
    assert await all_pages(archive, ANY, 10) == [finished(1)]
    assert await archive.runs(job_id(1)) == [ended(1)]


async def test_a_newer_generation_replaces_the_older(archive: Archive) -> None:
    await archive.write([finished(1, JobState.DEAD)], [], [], 1)
    again = finished(1, generation=1, finished_ms=START_MS + 500)
    await archive.write([again], [], [], 2)
    assert await archive.get([again.id]) == {again.id: again}
    assert await all_pages(archive, ANY, 10) == [again]
    assert await all_pages(archive, JobFilter("default", (JobState.DEAD,)), 10) == []


async def test_an_older_generation_never_replaces_the_newer(archive: Archive) -> None:
    newer = finished(1, generation=2)
    await archive.write([newer], [], [], 2)
    await archive.write([finished(1, JobState.DEAD, generation=1)], [], [], 3)
    assert await archive.get([newer.id]) == {newer.id: newer}


async def test_generations_of_one_bulk_leave_the_newest(archive: Archive) -> None:
    newest = finished(1, generation=2)
    await archive.write([finished(1, JobState.DEAD), newest, finished(1, JobState.DEAD, generation=1)], [], [], 1)
    assert await all_pages(archive, ANY, 10) == [newest]


async def test_a_requeued_job_leaves_the_archive_and_its_runs_stay(archive: Archive) -> None:
    await archive.write([finished(1, JobState.DEAD), finished(2)], [ended(1)], [], 1)
    await archive.write([], [], [job_id(1)], 2)
    assert await archive.get([job_id(1), job_id(2)]) == {job_id(2): finished(2)}
    assert await all_pages(archive, ANY, 10) == [finished(2)]
    assert await archive.runs(job_id(1)) == [ended(1)]


async def test_a_requeue_and_the_end_after_it_in_one_bulk_leave_the_new_end(archive: Archive) -> None:
    await archive.write([finished(1, JobState.DEAD)], [], [], 1)
    again = finished(1, generation=1)
    await archive.write([again], [], [again.id], 2)
    assert await archive.get([again.id]) == {again.id: again}


async def test_a_requeue_of_an_unknown_job_is_no_error(archive: Archive) -> None:
    await archive.write([], [], [job_id(1)], 1)
    assert await archive.get([job_id(1)]) == {}


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 255, 256, 257, 500, 1_111])
async def test_a_bulk_of_any_size_is_stored_whole(archive: Archive, count: int) -> None:
    jobs = [finished(number) for number in range(count)]
    await archive.write(jobs, [ended(number) for number in range(count)], [], 1)
    assert await archive.get([job.id for job in jobs]) == {job.id: job for job in jobs}
    assert [await archive.runs(job.id) for job in jobs[::100]] == [[ended(n)] for n in range(0, count, 100)]


async def test_a_body_of_a_megabyte_and_any_bytes_comes_back(archive: Archive) -> None:
    job = finished(1, body=bytes(range(256)) * 4_096, worker="wörker, 1 '\"\x00", args=b"\x00")
    await archive.write([job], [ended(1, body=b"\x00" * 65_536)], [], 1)
    assert await archive.get([job.id]) == {job.id: job}
    assert await archive.runs(job.id) == [ended(1, body=b"\x00" * 65_536)]


# --- looking up ---------------------------------------------------------------------------------------------------


async def test_an_unknown_job_is_absent(archive: Archive) -> None:
    await archive.write([finished(1)], [], [], 1)
    assert await archive.get([job_id(2)]) == {}
    assert await archive.get([]) == {}


async def test_a_job_asked_for_twice_is_found_once(archive: Archive) -> None:
    await archive.write([finished(1)], [], [], 1)
    assert await archive.get([job_id(1), job_id(2), job_id(1)]) == {job_id(1): finished(1)}


async def test_runs_come_in_order_of_generation_and_number(archive: Archive) -> None:
    runs = [ended(1, run, generation) for generation in range(3) for run in range(1, 201)]
    await archive.write([], runs[::-1], [], 1)
    assert await archive.runs(job_id(1)) == runs


async def test_a_job_without_archived_runs_has_none(archive: Archive) -> None:
    assert await archive.runs(job_id(1)) == []


# --- paging -------------------------------------------------------------------------------------------------------


async def test_pages_show_the_newest_end_first(archive: Archive) -> None:
    jobs = [finished(number, sorted(TERMINAL)[number % 4], keep_ms=number % 3 - 1) for number in range(60)]
    await archive.write(jobs[30:], [], [], 1)
    await archive.write(jobs[:30], [], [], 2)
    assert await all_pages(archive, ANY, 7) == jobs[::-1]


@pytest.mark.parametrize("limit", [1, 2, 7, 49, 50, 51, 1_000])
async def test_equal_times_neither_lose_nor_repeat_a_job(archive: Archive, limit: int) -> None:
    jobs = [
        finished(
            number, sorted(TERMINAL)[number % 4], finished_ms=START_MS + number // 20, task=f"task-{number * 7 % 11}"
        )
        for number in range(50)
    ]
    await archive.write(jobs, [], [], 1)
    listed = await all_pages(archive, ANY, limit)
    assert sorted(job.id for job in listed) == [job.id for job in jobs]
    assert [job.finished_ms for job in listed] == sorted((job.finished_ms for job in jobs), reverse=True)


async def test_a_full_last_page_has_no_cursor(archive: Archive) -> None:
    await archive.write([finished(number) for number in range(10)], [], [], 1)
    _, after = await archive.page(ANY, 5, b"")
    assert after != b""
    page, after = await archive.page(ANY, 5, after)
    assert (len(page), after) == (5, b"")


async def test_an_empty_archive_has_one_empty_page(archive: Archive) -> None:
    assert await archive.page(ANY, 5, b"") == ([], b"")


async def test_a_limit_below_one_still_moves_on(archive: Archive) -> None:
    await archive.write([finished(1), finished(2)], [], [], 1)
    page, after = await archive.page(ANY, 0, b"")
    assert (page, bool(after)) == ([finished(2)], True)


async def test_a_filter_of_names_and_states_finds_exactly_those(archive: Archive) -> None:
    jobs = [
        finished(
            number,
            sorted(TERMINAL)[number % 4],
            namespace=f"space-{number % 2}",
            queue=f"queue-{number % 3}",
            task=f"task-{number % 5}",
        )
        for number in range(240)
    ]
    await archive.write(jobs, [], [], 1)
    for where in (
        JobFilter("space-1"),
        JobFilter("space-1", queue="queue-2"),
        JobFilter("space-0", task="task-4"),
        JobFilter("space-0", (JobState.DEAD,)),
        JobFilter("space-0", (JobState.SUCCEEDED, JobState.CANCELLED), "queue-1", "task-3"),
        JobFilter("space-2"),
        JobFilter("default"),
        JobFilter("space-1", queue="task-1"),
    ):
        wanted = [
            job
            for job in jobs[::-1]
            if job.namespace == where.namespace
            and where.queue in ("", job.queue)
            and where.task in ("", job.task)
            and (not where.states or job.state in where.states)
        ]
        assert await all_pages(archive, where, 3) == wanted
        assert await all_pages(archive, where, 1_000) == wanted


@pytest.mark.parametrize("needle", ["ValueError:", "Error: n", ":", ": ", " ", " no", " stock", "ValueError: no stock"])
async def test_any_part_of_the_line_of_an_error_finds_it(archive: Archive, needle: str) -> None:
    job = finished(1, JobState.DEAD, body=STOCK)
    await archive.write([job], [], [], 1)
    assert await all_pages(archive, JobFilter("default", error=needle), 3) == [job]


DISK = pack_failure(Failure("OSError", "disk full: /tmp", "a traceback with stock in it"))
STOCK = pack_failure(Failure("ValueError", "no stock"))


@pytest.mark.parametrize("page_jobs", [1, 3, 1_000])
async def test_a_page_holds_just_the_jobs_that_its_filter_asks_for(archive: Archive, page_jobs: int) -> None:
    bodies = {JobState.DEAD: (DISK, STOCK, b""), JobState.EXPIRED: (STOCK, b"")}
    jobs = [
        finished(
            number,
            state,
            queue=f"queue-{number % 2}",
            body=bodies[state][number % len(bodies[state])] if state in bodies else b"",
        )
        for number in range(120)
        for state in [sorted(TERMINAL)[number % len(TERMINAL)]]
    ]
    await archive.write(jobs, [], [], 1)
    by_id = sorted(jobs, key=lambda job: job.id, reverse=True)
    begin = START_MS + 20
    for changes in (
        {"since_ms": begin},
        {"until_ms": begin},
        {"since_ms": begin, "until_ms": begin + 1},
        {"since_ms": START_MS + 999},
        {"error": "no stock"},
        {"error": "ValueError: no"},
        {"error": "Error: disk full: /"},
        {"error": "stock in it"},
        {"error": "without a word"},
        {"error": "o", "states": (JobState.DEAD,), "queue": "queue-1", "since_ms": begin},
        {"error": "o", "states": (JobState.SUCCEEDED,)},
        {"ids": (jobs[7].id, jobs[90].id)},
        {"ids": (jobs[7].id, jobs[7].id)},
        {"ids": (b"\xff" * 16, b"\xff" * 16)},
        {"ids": (jobs[7].id, b"\xff" * 16), "states": (JobState.DEAD,), "until_ms": begin + 50, "error": "stock"},
    ):
        where = JobFilter("default", **changes)
        wanted = [job for job in (by_id if where.ids else jobs[::-1]) if matches(where, job)]
        if where.ids is not None:
            wanted = [job for job in wanted if where.ids[0] <= job.id <= where.ids[1]]
        assert await all_pages(archive, where, page_jobs) == wanted, changes


@pytest.mark.parametrize("ids", [None, (b"\x00" * 16, b"\xff" * 16)])
async def test_a_page_looks_at_few_jobs_and_goes_on_where_it_found_none(
    archive: Archive, ids: tuple[bytes, bytes] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("memory", "pages"):
        monkeypatch.setattr(f"aioqueue.archive.{module}.LOOK_ROWS_MAX", 10)
    dead = [finished(number, JobState.DEAD, body=DISK if number % 25 else STOCK) for number in range(60)]
    await archive.write(dead, [], [], 1)
    where = JobFilter("default", ids=ids, error="stock")
    after, pages, found = b"", 0, []
    while pages == 0 or after:
        page, after = await archive.page(where, 1, after)
        pages, found = pages + 1, found + page
    assert found == [dead[50], dead[25], dead[0]]
    assert pages >= 6


async def test_a_cursor_of_a_list_by_id_is_none_of_a_list_by_end(archive: Archive) -> None:
    await archive.write([finished(number) for number in range(4)], [], [], 1)
    by_id = JobFilter("default", ids=(b"\x00" * 16, b"\xff" * 16))
    for one, other in ((ANY, by_id), (by_id, ANY)):
        _, after = await archive.page(one, 2, b"")
        with pytest.raises(BadOption):
            await archive.page(other, 2, after)


async def test_states_that_are_no_end_have_no_page(archive: Archive) -> None:
    await archive.write([finished(1)], [], [], 1)
    assert await archive.page(JobFilter("default", (JobState.READY, JobState.RUNNING)), 5, b"") == ([], b"")


async def test_names_that_share_a_checksum_are_told_apart(archive: Archive) -> None:
    one, other = "queue-2", "queue-2040"
    assert print_of("default", one, "task") == print_of("default", other, "task")
    await archive.write([finished(1, queue=one), finished(2, queue=other), finished(3, queue=one)], [], [], 1)
    assert await all_pages(archive, JobFilter("default", queue=one), 1) == [
        finished(3, queue=one),
        finished(1, queue=one),
    ]
    assert await all_pages(archive, JobFilter("default", queue=other), 1) == [finished(2, queue=other)]
    await archive.write([finished(number, queue=other) for number in range(4, 40)], [], [], 2)
    assert await all_pages(archive, JobFilter("default", queue=one), 1) == [
        finished(3, queue=one),
        finished(1, queue=one),
    ]


async def test_a_rare_job_behind_thousands_of_others_is_found(archive: Archive) -> None:
    rare = [finished(0, queue="rare"), finished(1, queue="rare")]
    await archive.write(rare + [finished(number) for number in range(2, 4_000)], [], [], 1)
    assert await all_pages(archive, JobFilter("default", queue="rare"), 1) == rare[::-1]
    assert await all_pages(archive, JobFilter("default", queue="none"), 5) == []


async def test_jobs_that_end_between_two_pages_appear_in_no_later_one(archive: Archive) -> None:
    await archive.write([finished(number) for number in range(6)], [], [], 1)
    first, after = await archive.page(ANY, 3, b"")
    await archive.write([finished(9)], [], [], 2)
    second, after = await archive.page(ANY, 3, after)
    assert [*first, *second] == [finished(number) for number in range(5, -1, -1)]
    assert after == b""


async def test_a_job_requeued_between_two_pages_is_passed_over(archive: Archive) -> None:
    await archive.write([finished(number) for number in range(6)], [], [], 1)
    first, after = await archive.page(ANY, 3, b"")
    await archive.write([], [], [first[-1].id, job_id(1)], 2)
    assert (await archive.page(ANY, 3, after))[0] == [finished(2), finished(0)]


@pytest.mark.parametrize("cursor", [b"x", b"x" * 23, b"x" * 25, b"x" * 64])
async def test_a_cursor_that_no_page_gave_is_refused(archive: Archive, cursor: bytes) -> None:
    with pytest.raises(BadOption) as refusal:
        await archive.page(ANY, 5, cursor)
    assert refusal.value.option == "after"


@pytest.mark.parametrize("cursor", [b"\x00" * 24, b"\xff" * 24, b"\x80" + b"\x00" * 23, b"\x7f" * 24])
async def test_an_invented_cursor_of_the_right_length_does_no_harm(archive: Archive, cursor: bytes) -> None:
    await archive.write([finished(1)], [], [], 1)
    page, after = await archive.page(ANY, 5, cursor)
    assert after == b""
    assert page in ([], [finished(1)])


@pytest.mark.parametrize("number", [0, 7, 24])
async def test_a_job_is_found_by_the_end_of_its_id(archive: Archive, number: int) -> None:
    await archive.write([finished(each, task=f"task{each % 2}") for each in range(25)], [], [], 1)
    where = JobFilter("default", ids=EVERY_ID, tail=job_id(number)[-6:])
    assert await all_pages(archive, where, 10) == [finished(number, task=f"task{number % 2}")]
    assert await all_pages(archive, replace(where, queue="elsewhere"), 10) == []
    assert await all_pages(archive, replace(where, tail=b"no job"), 10) == []


# --- retention ----------------------------------------------------------------------------------------------------


async def test_nothing_to_retain_removes_nothing(archive: Archive) -> None:
    assert await archive.retain(START_MS, 10, PLENTY) == 0
    await archive.write([finished(1)], [ended(1)], [], 1)
    assert await archive.retain(START_MS + HOUR_MS, 10, PLENTY) == 0
    assert await archive.get([job_id(1)]) == {job_id(1): finished(1)}


@pytest.mark.parametrize(
    ("state", "keep_ms", "kept_ms"),
    [
        (JobState.SUCCEEDED, -1, KEEP_SUCCEEDED_MS),
        (JobState.DEAD, -1, KEEP_DEAD_MS),
        (JobState.CANCELLED, -1, KEEP_DEAD_MS),
        (JobState.EXPIRED, -1, KEEP_DEAD_MS),
        (JobState.SUCCEEDED, 5_000, 5_000),
        (JobState.DEAD, 5_000, 5_000),
        (JobState.SUCCEEDED, 0, 0),
        (JobState.SUCCEEDED, 90 * DAY_MS, 90 * DAY_MS),
    ],
)
async def test_a_job_is_kept_for_exactly_its_time(
    archive: Archive, state: JobState, keep_ms: int, kept_ms: int
) -> None:
    job = finished(0, state, keep_ms=keep_ms)
    await archive.write([job], [], [], 1)
    if kept_ms:
        assert await archive.retain(START_MS + kept_ms - 1, 10, PLENTY) == 0
    assert await archive.get([job.id]) == {job.id: job}
    assert await archive.retain(START_MS + kept_ms, 10, PLENTY) == 1
    assert await archive.get([job.id]) == {job.id: Tombstone(job.id, state, 0, START_MS + kept_ms)}
    assert await archive.page(ANY, 5, b"") == ([], b"")


async def test_the_runs_of_a_job_go_with_it_and_those_of_others_stay(archive: Archive) -> None:
    await archive.write(
        [finished(1), finished(2, JobState.DEAD)], [ended(1, 1), ended(1, 2), ended(2), ended(3)], [], 1
    )
    assert await retain_all(archive, START_MS + 2 * DAY_MS) == 3
    assert await archive.runs(job_id(1)) == []
    assert await archive.runs(job_id(2)) == [ended(2)]
    assert await archive.runs(job_id(3)) == [ended(3)]


async def test_jobs_that_stay_do_not_stand_in_the_way_of_those_that_go(archive: Archive) -> None:
    stay = [finished(number, JobState.DEAD) for number in range(0, 40, 2)]
    stay += [finished(number + 100, keep_ms=9 * DAY_MS) for number in range(40)]
    go = [finished(number) for number in range(1, 40, 2)]
    await archive.write([*stay, *go], [], [], 1)
    assert await retain_all(archive, START_MS + 2 * DAY_MS) == len(go)
    assert await all_pages(archive, ANY, 100) == sorted(stay, key=lambda job: -job.finished_ms)


async def test_a_step_removes_no_more_rows_than_it_may(archive: Archive) -> None:
    jobs = [finished(number, keep_ms=-1 if number % 2 else 1) for number in range(25)]
    await archive.write(jobs, [ended(number) for number in range(0, 25, 5)], [], 1)
    steps = []
    while step := await archive.retain(START_MS + 2 * DAY_MS, 10, PLENTY):
        steps.append(step)
    assert max(steps) <= 10
    assert sum(steps) == 30


async def test_a_job_of_more_runs_than_a_step_goes_whole(archive: Archive) -> None:
    await archive.write([finished(1), finished(2)], [ended(1, run) for run in range(1, 31)], [], 1)
    assert await retain_all(archive, START_MS + 2 * DAY_MS) == 32
    assert await archive.runs(job_id(1)) == []
    assert list((await archive.get([job_id(1), job_id(2)])).values()) == [
        Tombstone(job_id(number), JobState.SUCCEEDED, 0, START_MS + 2 * DAY_MS) for number in (1, 2)
    ]


async def test_a_tombstone_stands_for_a_day_and_then_goes(archive: Archive) -> None:
    await archive.write([finished(number) for number in range(25)], [], [], 1)
    removed_ms = START_MS + 2 * DAY_MS
    await retain_all(archive, removed_ms)
    assert await archive.retain(removed_ms + TOMBSTONE_MS - 1, 10, PLENTY) == 0
    assert len(await archive.get([job_id(number) for number in range(25)])) == 25
    assert await archive.retain(removed_ms + TOMBSTONE_MS, 10, PLENTY) == 10
    assert await retain_all(archive, removed_ms + TOMBSTONE_MS) == 15
    assert await archive.get([job_id(number) for number in range(25)]) == {}


async def test_a_job_that_ends_again_is_told_before_its_tombstone(archive: Archive) -> None:
    await archive.write([finished(1)], [], [], 1)
    await retain_all(archive, START_MS + 2 * DAY_MS)
    again = finished(1, JobState.DEAD, generation=1, finished_ms=START_MS + 3 * DAY_MS)
    await archive.write([again], [], [], 2)
    assert await archive.get([again.id]) == {again.id: again}
    await retain_all(archive, START_MS + 60 * DAY_MS, rows_max=1_000)
    assert await archive.get([again.id]) == {again.id: Tombstone(again.id, JobState.DEAD, 0, START_MS + 60 * DAY_MS)}


@pytest.mark.parametrize("generation", [0, 1, 7, 2**31 + 5])
async def test_a_tombstone_of_an_own_id_tells_of_its_generation_and_of_others_none_does(
    archive: Archive, generation: int
) -> None:
    own, plain = own_id("default", "default", "invoice-42"), job_id(2)
    jobs = [finished(number, id=key, generation=generation) for number, key in enumerate((own, plain))]
    await archive.write(jobs, [], [], 1)
    await retain_all(archive, START_MS + 2 * DAY_MS)
    assert await archive.get([own, plain]) == {
        own: Tombstone(own, JobState.SUCCEEDED, min(generation, 2**31 - 1), START_MS + 2 * DAY_MS),
        plain: Tombstone(plain, JobState.SUCCEEDED, 0, START_MS + 2 * DAY_MS),
    }


async def test_a_new_use_of_an_id_is_kept_though_its_tombstone_stood(archive: Archive) -> None:
    own = own_id("default", "default", "invoice-42")
    await archive.write([finished(1, id=own)], [], [], 1)
    await retain_all(archive, START_MS + 2 * DAY_MS)
    again = finished(1, id=own, generation=1, terms=Terms(first_generation=1), finished_ms=START_MS + 3 * DAY_MS)
    await archive.write([again], [], [own], 2)
    assert await archive.get([own]) == {own: again}
    await retain_all(archive, START_MS + 5 * DAY_MS)
    assert await archive.get([own]) == {own: Tombstone(own, JobState.SUCCEEDED, 1, START_MS + 5 * DAY_MS)}


async def test_a_requeued_job_has_no_tombstone_either(archive: Archive) -> None:
    await archive.write([finished(1, JobState.DEAD, keep_ms=0)], [], [], 1)
    await retain_all(archive, START_MS + DAY_MS)
    await archive.write([], [], [job_id(1)], 2)
    assert await archive.get([job_id(1)]) == {}


@pytest.mark.parametrize("rows_max", [1, 10, 1_000])
async def test_by_size_the_oldest_succeeded_go_first_and_no_more_than_must(archive: Archive, rows_max: int) -> None:
    body = b"\x01" + b"x" * 4_000
    dead = [finished(number, JobState.DEAD, body=body) for number in range(20)]
    done = [finished(number + 20, body=body, keep_ms=number % 2 * 90 * DAY_MS - 1) for number in range(200)]
    await archive.write([*dead, *done], [], [], 1)
    await retain_all(archive, START_MS, bytes_max=500_000, rows_max=rows_max)
    left = await all_pages(archive, ANY, 50)
    assert left[-20:] == dead[::-1]
    kept = left[:-20]
    assert kept == done[::-1][: len(kept)]
    assert 50 <= len(kept) <= 110


async def test_a_step_that_forgets_by_age_goes_on_by_size(archive: Archive) -> None:
    # Where jobs end all the time, each step finds one past its time; the size must not wait for one that finds none.
    done = [finished(number, body=b"\x01" + b"x" * 4_000) for number in range(1, 201)]
    await archive.write([finished(0, keep_ms=0), *done], [], [], 1)
    assert await archive.retain(START_MS, 1_000, 500_000) > 90
    kept = await all_pages(archive, ANY, 50)
    assert kept == done[::-1][: len(kept)]
    assert 50 <= len(kept) <= 110


async def test_no_job_is_forgotten_early_because_many_others_are_remembered(archive: Archive) -> None:
    await archive.write([finished(number, keep_ms=0) for number in range(3_000)], [], [], 1)
    assert await retain_all(archive, START_MS + 3_000, rows_max=1_000) == 3_000
    kept = [finished(number) for number in range(4_000, 4_020)]
    await archive.write(kept, [], [], 2)
    assert await retain_all(archive, START_MS + 3_000, bytes_max=120_000) == 0
    assert await all_pages(archive, ANY, 50) == kept[::-1]


async def test_by_size_others_go_when_no_succeeded_job_is_left(archive: Archive) -> None:
    body = b"\x01" + b"x" * 4_000
    dead = [finished(number, sorted(TERMINAL - {JobState.SUCCEEDED})[number % 3], body=body) for number in range(200)]
    await archive.write([*dead, finished(900)], [ended(number, body=body) for number in range(200)], [], 1)
    await retain_all(archive, START_MS, bytes_max=500_000)
    left = await all_pages(archive, ANY, 50)
    assert left == dead[::-1][: len(left)]
    assert 20 <= len(left) <= 60
    assert await archive.get([job_id(900)]) == {job_id(900): Tombstone(job_id(900), JobState.SUCCEEDED, 0, START_MS)}


async def test_an_archive_that_cannot_shrink_enough_ends_its_retention(archive: Archive) -> None:
    await archive.write([finished(number) for number in range(30)], [ended(99)], [], 1)
    assert await retain_all(archive, START_MS, bytes_max=0) == 30
    assert await archive.page(ANY, 5, b"") == ([], b"")


async def test_retention_leaves_synced_as_it_was(archive: Archive) -> None:
    await archive.write([finished(1)], [], [], 12)
    await retain_all(archive, START_MS + 9 * DAY_MS)
    assert archive.synced == 12


# --- the end ------------------------------------------------------------------------------------------------------


async def test_a_closed_archive_refuses_every_call(archive: Archive) -> None:
    await archive.aclose()
    await archive.aclose()
    for call in (
        archive.write([], [], [], 1),
        archive.get([job_id(1)]),
        archive.runs(job_id(1)),
        archive.page(ANY, 5, b""),
        archive.retain(START_MS, 10, PLENTY),
        archive.shrink(),
    ):
        with pytest.raises(ArchiveFailed):
            await call


# --- acts and logs ------------------------------------------------------------------------------------------------


async def all_acts(archive: Archive, limit: int = 100) -> list[Act]:
    acts: list[Act] = []
    after = b""
    while True:
        page, after = await archive.acts(limit, after)
        assert len(page) <= limit
        acts += page
        if not after:
            return acts


async def test_an_archive_without_acts_and_logs_has_none(archive: Archive) -> None:
    assert await archive.acts(10, b"") == ([], b"")
    assert await archive.logs(job_id(1)) == []


async def test_acts_come_back_the_newest_first(archive: Archive) -> None:
    acts = [act(number) for number in range(7)]
    await archive.write([], [], [], 7, acts[:3])
    await archive.write([finished(1)], [], [], 8, acts[3:])
    assert archive.synced == 8
    assert await all_acts(archive) == acts[::-1]
    assert await all_acts(archive, 2) == acts[::-1]
    assert await archive.get([job_id(1)]) == {job_id(1): finished(1)}


async def test_the_same_act_twice_is_one_and_others_of_its_batch_are_not(archive: Archive) -> None:
    acts = [act(1), act(1, place=1), act(1, at_ms=START_MS + 9)]
    for _ in range(2):
        await archive.write([], [], [], 1, acts)
    assert await all_acts(archive) == acts[::-1]


async def test_a_cursor_that_no_page_of_acts_gave_is_refused(archive: Archive) -> None:
    with pytest.raises(BadOption):
        await archive.acts(10, b"abc")


async def test_a_log_comes_back_in_its_order(archive: Archive) -> None:
    parts = [logged(1, part, generation) for generation in (0, 1) for part in range(70)]
    await archive.write([], [], [], 1, logs=parts[70:])
    await archive.write([], [], [], 2, logs=[*parts[:70], *parts, logged(2)])
    assert await archive.logs(job_id(1)) == parts
    assert await archive.logs(job_id(2)) == [logged(2)]


async def test_a_log_goes_with_its_job_and_stays_at_a_requeue(archive: Archive) -> None:
    await archive.write([finished(1), finished(2, JobState.DEAD)], [], [], 1, logs=[logged(1), logged(2)])
    await archive.write([], [], [job_id(2)], 2)
    assert await retain_all(archive, START_MS + KEEP_SUCCEEDED_MS + 100) == 1
    assert await archive.logs(job_id(1)) == []
    assert await archive.logs(job_id(2)) == [logged(2)]


async def test_acts_are_kept_for_a_year(archive: Archive) -> None:
    acts = [act(number) for number in range(25)]
    await archive.write([], [], [], 1, acts)
    assert await retain_all(archive, START_MS + KEEP_ACTS_MS - 1) == 0
    assert await retain_all(archive, START_MS + KEEP_ACTS_MS + 11) == 12
    assert await all_acts(archive) == acts[:11:-1]


async def test_the_oldest_of_too_many_acts_go(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("memory", "retention"):
        monkeypatch.setattr(f"aioqueue.archive.{module}.ACTS_MAX", 20)
    acts = [act(number) for number in range(45)]
    await archive.write([], [], [], 1, acts)
    assert await retain_all(archive, START_MS) == 25
    assert await all_acts(archive) == acts[:24:-1]
    await archive.write([], [], [], 2, [act(45)])
    assert await retain_all(archive, START_MS) == 1
