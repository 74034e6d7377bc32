"""Real forks: each test is a program of its own, whose child tells by a pipe what it found."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")

_BEGIN = """
import gc, os, socket, sqlite3, sys
from aioqueue.forked import close_in_child, in_child, never_free_in_child

class Owner:
    pass

def in_fork(look):
    sys.stdout.flush()
    if os.fork() == 0:
        look()
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""


def output_of(program: str) -> list[str]:
    command = [sys.executable, "-c", _BEGIN + program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_an_act_is_done_in_every_child_and_never_in_the_parent() -> None:
    assert output_of("""
parent = os.getpid()
owner = Owner()
in_child(owner, lambda owner: print("parent" if os.getpid() == parent else "child"))
in_fork(lambda: in_fork(lambda: None))
""") == ["child", "child"]


def test_what_is_gone_has_no_act_any_more() -> None:
    assert output_of("""
owner = Owner()
in_child(owner, lambda owner: print("there"))
del owner
in_fork(lambda: print("gone"))
""") == ["gone"]


def test_an_act_that_fails_keeps_no_other_from_being_done() -> None:
    assert output_of("""
first, second = Owner(), Owner()
in_child(first, lambda owner: 1 / 0)
in_child(second, lambda owner: print("done"))
in_fork(lambda: None)
""") == ["done"]


def test_the_other_side_hears_of_the_end_though_a_child_lives() -> None:
    assert output_of("""
near, far = socket.socketpair()
owner = Owner()
close_in_child(owner, near.fileno())
waiting, going = os.pipe()
if os.fork() == 0:
    os.close(going)
    os.read(waiting, 1)
    os._exit(0)
near.close()
far.settimeout(60)
print("end" if far.recv(1) == b"" else "bytes")
os.close(going)
os.wait()
""") == ["end"]


def test_a_number_that_belongs_to_somebody_else_by_now_is_left_alone() -> None:
    assert output_of("""
near, far = socket.socketpair()
owner = Owner()
number = near.fileno()
close_in_child(owner, number)
near.close()
other, end = socket.socketpair()
assert other.fileno() == number
in_fork(lambda: other.send(b"x"))
print(end.recv(1).decode())
""") == ["x"]


def test_a_number_stays_taken_in_the_child_so_that_closing_it_there_closes_nothing_else() -> None:
    assert output_of("""
near, far = socket.socketpair()
owner = Owner()
close_in_child(owner, near.fileno())
def look():
    number = near.fileno()
    mine = os.open("/dev/null", os.O_RDONLY)
    print(mine != number, os.get_inheritable(number))
    near.close()
    os.fstat(mine)
in_fork(look)
""") == ["True", "False"]


def test_a_database_is_not_even_closed_by_the_end_of_the_child() -> None:
    assert output_of("""
class Told(sqlite3.Connection):
    def __del__(self):
        print("freed", os.getpid() == parent)
parent = os.getpid()
owner = Owner()
owner.database = sqlite3.connect(":memory:", factory=Told)
never_free_in_child(owner, lambda owner: owner.__dict__.pop("database"))
sys.stdout.flush()
if os.fork() == 0:
    gc.collect()
    sys.exit()
os.wait()
del owner.database
""") == ["freed", "True"]
