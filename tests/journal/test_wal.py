"""What the scan of a log sees that SQLite does not: real logs of a killed process, damaged in every way there is."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing

import msgspec
import pytest

from aioqueue.errors import HistoryLost, JournalDamaged, JournalError
from aioqueue.journal import wal
from aioqueue.journal.check import check_journal
from aioqueue.journal.wal import FRAME_BYTES, HEADER_BYTES, WalScan, read_frames, scan_log
from tests.journal.killed import EVERYTHING, live_and_die, sample

pytestmark = pytest.mark.timeout(0 if EVERYTHING else 300)

# Rows on one page, on two, and with a list of overflow pages.
SIZES = (10, 50, 3_000, 9_000, 5_000, 100, 20, 60, 6_000)
NO_MARK = b""


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """A journal with one life in its file and another, of nine appends, in its log."""
    return live_and_die(tmp_path_factory.mktemp("lived"), (100, 6_000, 30), SIZES)


@pytest.fixture
def killed(lived, tmp_path):
    return msgspec.structs.replace(lived, folder=tmp_path / "killed")


def flipped(data, at, mask=1):
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def frames(log):
    """Where each frame begins, and whether it ends a commit."""
    return [(at, log[at + 4 : at + 8] != bytes(4)) for at in range(HEADER_BYTES, len(log), FRAME_BYTES)]


def commits(log):
    """Where each commit ends."""
    return [at + FRAME_BYTES for at, ends in frames(log) if ends]


async def test_a_log_that_is_whole_is_taken_whole(killed):
    scan = scan_log(str(killed.lay_out()))
    assert scan == WalScan(len(killed.log), len(frames(killed.log)), len(frames(killed.log)))
    assert await killed.start() == killed.acknowledged


async def test_no_log_an_empty_one_and_one_without_frames_are_nothing(killed, tmp_path):
    assert scan_log(str(tmp_path / "nothing")) == WalScan()
    for log in (b"", killed.log[:20], killed.log[:HEADER_BYTES], killed.log[: HEADER_BYTES + 100]):
        scan = scan_log(str(killed.lay_out(log=log)))
        assert scan == WalScan(len(log))


async def test_a_log_that_cannot_be_read_is_a_clear_error(tmp_path):
    (tmp_path / "journal-wal").mkdir()
    with pytest.raises(JournalError, match="its log cannot be read"):
        scan_log(str(tmp_path / "journal"))


def test_the_checksum_is_that_of_the_formula():
    data = os.urandom(4_104)
    for order, name in (("<", "little"), (">", "big")):
        one, two = 0x89ABCDEF, 0x12345678
        for at in range(0, len(data), 8):
            one = (one + int.from_bytes(data[at : at + 4], name) + two) % 2**32
            two = (two + int.from_bytes(data[at + 4 : at + 8], name) + one) % 2**32
        assert wal._checksum(order, (0x89ABCDEF, 0x12345678), data) == (one, two)


@pytest.mark.faults
@pytest.mark.slow
async def test_a_flipped_byte_of_the_log_is_never_a_shorter_history(killed):
    for at in sample(range(len(killed.log)), 600):
        assert await killed.loss(log=flipped(killed.log, at)) in (None, 0), at


@pytest.mark.faults
@pytest.mark.slow
async def test_without_its_mark_a_flipped_byte_of_the_log_can_only_hide_the_last_append(killed):
    last = commits(killed.log)[-2]
    for at in sample(range(len(killed.log)), 300):
        allowed = (None,) if at < last else (None, 1)
        assert await killed.loss(log=flipped(killed.log, at, 0x80), mark=NO_MARK) in allowed, at


@pytest.mark.faults
async def test_every_flipped_byte_of_a_header_is_noticed_without_the_mark(killed):
    last = commits(killed.log)[-2]
    heads = [at + byte for at, _ in frames(killed.log)[:-1] if at < last for byte in range(24)]
    for at in [*range(HEADER_BYTES), *sample(heads, 150)]:
        found = await killed.loss(log=flipped(killed.log, at, 0xFF), mark=NO_MARK)
        assert found is None, at


@pytest.mark.faults
@pytest.mark.slow
async def test_a_log_cut_anywhere_is_never_a_shorter_history(killed):
    boundaries = [at for at, _ in frames(killed.log)]
    cuts = {cut for at in boundaries for cut in (at - 1, at, at + 1, at + 24, at + 2_000)} | {0, 1, 31, 32, 33}
    for cut in sorted(cuts & set(range(len(killed.log)))):
        assert await killed.loss(log=killed.log[:cut]) is None, cut
        # Without the mark it is undetectable by definition, and still nothing but a shorter history.
        assert await killed.loss(log=killed.log[:cut], mark=NO_MARK) >= 1, cut


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("size", [512, 4_096])
async def test_a_block_of_zeros_is_never_a_shorter_history(killed, size):
    for at in sample(range(0, len(killed.log) - size, 512), 60):
        log = killed.log[:at] + bytes(size) + killed.log[at + size :]
        assert await killed.loss(log=log) in (None, 0), at


@pytest.mark.faults
@pytest.mark.slow
@pytest.mark.parametrize("size", [512, FRAME_BYTES])
async def test_swapped_blocks_are_never_a_shorter_history(killed, size):
    start = HEADER_BYTES if size == FRAME_BYTES else 0
    for at in sample(range(start, len(killed.log) - 2 * size, size), 50):
        one, other = killed.log[at : at + size], killed.log[at + size : at + 2 * size]
        log = killed.log[:at] + other + one + killed.log[at + 2 * size :]
        assert await killed.loss(log=log) in (None, 0), at


@pytest.mark.faults
@pytest.mark.slow
async def test_a_flipped_byte_of_the_file_is_never_a_shorter_history(killed):
    for at in sample(range(len(killed.file)), 300):
        assert await killed.loss(file=flipped(killed.file, at)) in (None, 0), at


async def test_a_torn_last_append_is_cut_off_and_the_journal_goes_on(killed):
    # As a power cut leaves it: some of its frames on the disk, in any order, and nobody was told.
    torn, end = commits(killed.log)[-2:]
    told = max(killed.acknowledged)
    before = {position: batch for position, batch in killed.acknowledged.items() if position < told}
    whole = [killed.log[at : at + FRAME_BYTES] for at in range(torn, end, FRAME_BYTES)]
    assert len(whole) >= 2
    for missing in range(len(whole)):
        frames_left = [bytes(FRAME_BYTES) if index == missing else frame for index, frame in enumerate(whole)]
        killed.lay_out(log=killed.log[:torn] + b"".join(frames_left), mark=NO_MARK)
        assert scan_log(str(killed.path)).lost is None
        assert await killed.start() == before


async def test_an_append_without_its_commit_is_torn(killed):
    torn = commits(killed.log)[-2]
    killed.lay_out(log=killed.log[: torn + FRAME_BYTES], mark=NO_MARK)
    scan = scan_log(str(killed.path))
    assert (scan.torn, scan.lost, scan.frames - scan.committed) == (1, None, 1)


async def test_a_second_append_behind_a_bad_frame_is_lost_history(killed):
    # The last append but one is damaged: the last tells that it was acknowledged.
    at = commits(killed.log)[-3] + 24 + 5
    killed.lay_out(log=flipped(killed.log, at), mark=NO_MARK)
    assert "frames of a later append stand behind its own" in scan_log(str(killed.path)).lost
    with pytest.raises(HistoryLost, match="does not verify"):
        raise await killed.start()


async def test_a_batch_two_behind_the_end_is_lost_history_though_no_commit_tells(killed):
    # The commit frame of the last append but one is gone, salts and all, so its frames and the last one's look like
    # one torn append; the batch that they hold says that they are two.
    at = commits(killed.log)[-2] - FRAME_BYTES
    killed.lay_out(log=killed.log[:at] + bytes(FRAME_BYTES) + killed.log[at + FRAME_BYTES :], mark=NO_MARK)
    scan = scan_log(str(killed.path))
    assert scan.lost is None
    found = await killed.start()
    last = max(killed.acknowledged)
    assert f"a trace of batch {last}" in str(found)
    assert isinstance(found, HistoryLost)


async def test_frames_of_an_older_generation_are_left_over_and_nothing_more(killed):
    # A log begun again: a new header and the first frame of a new generation over frames that were folded in before.
    killed.lay_out(mark=NO_MARK)
    other = killed.folder.parent / "other"
    with closing(sqlite3.connect(other, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE one (x)")
        begun = other.with_name("other-wal").read_bytes()
    log = begun[: HEADER_BYTES + FRAME_BYTES] + killed.log[HEADER_BYTES + FRAME_BYTES :]
    killed.path.with_name("journal-wal").write_bytes(log)
    scan = scan_log(str(killed.path))
    assert (scan.lost, scan.torn) == (None, 1)
    assert scan.frames == len(frames(log))


async def test_a_log_begun_again_by_its_owner_is_sound(place, fill, tmp_path):
    journal = await place.open()
    await fill(journal, 30)
    # A checkpoint that folds in everything: the next append begins the log again, over the frames of those before.
    await journal._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    leadership = await journal.lead("again", 1)
    for suffix in ("", "-wal"):
        shutil.copy(f"{place.path}{suffix}", tmp_path / f"copy{suffix}")
    scan = scan_log(str(tmp_path / "copy"))
    assert scan.lost is None
    assert 0 < scan.committed < 10 < scan.frames
    report = await check_journal(tmp_path / "copy")
    assert (report.ok, report.last_position) == (True, leadership.position)


async def test_a_bad_header_over_one_append_is_lost_history(killed):
    first = commits(killed.log)[0]
    for at in (0, 3, 9, 13, 17, 21, 25, 30):
        found = await killed.loss(log=flipped(killed.log[:first], at), mark=NO_MARK)
        assert found is None, at


async def test_a_bad_header_without_sound_frames_is_nothing(killed):
    log = bytes(HEADER_BYTES) + bytes(FRAME_BYTES * 3)
    assert scan_log(str(killed.lay_out(log=log))) == WalScan(len(log), 3)


async def test_a_refused_log_is_never_shown_to_sqlite(killed, monkeypatch):
    import aiosqlite

    killed.lay_out(log=flipped(killed.log, 20))

    def connect(*args, **kwargs):
        raise AssertionError("it was opened")

    monkeypatch.setattr(aiosqlite, "connect", connect)
    assert isinstance(await killed.start(), HistoryLost)


async def test_frames_tell_which_of_them_are_sound(killed):
    at = frames(killed.log)[3][0]
    path = killed.lay_out(log=flipped(killed.log, at + 100))
    with path.with_name("journal-wal").open("rb") as file:
        sound = [frame.sound for frame in read_frames(file)]
    assert sound == [number != 3 for number in range(len(sound))]


async def test_a_log_of_another_journal_is_refused(killed, place, tmp_path):
    from aioqueue.clock import ManualClock
    from aioqueue.journal.sqlite import SqliteJournal

    strange = await SqliteJournal.open(tmp_path / "strange", ManualClock())
    await strange.lead("me", 1)
    await strange.aclose()
    killed.lay_out(file=(tmp_path / "strange").read_bytes(), mark=NO_MARK)
    assert isinstance(await killed.start(), (HistoryLost, JournalDamaged))
