"""Everything that is run by hand or by CI, by name: `nox -s lint types tests-3.11`.

`sim`, `faults`, `fuzz` and `soak` take arguments after `--`, which go to what they run: a seed to replay, a longer
time.
"""

from __future__ import annotations

import os

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True

PYTHONS = ["3.11", "3.12", "3.13"]


def install(session: nox.Session) -> None:
    session.install("-q", "-e", ".[dev]")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, spelling, and the layers."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, and what pyright and mypy say of the public face, whose types must be known completely."""
    install(session)
    session.run("mypy")
    session.run("python", "-m", "pytest", "-n", "0", "tests/typing")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The whole suite."""
    install(session)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def sim(session: nox.Session) -> None:
    """The simulator; `nox -s sim -- --seed 17` replays one seed."""
    install(session)
    if session.posargs:
        session.run("python", "-m", "tests.simulator", *session.posargs)
    else:
        session.run("python", "-m", "pytest", "tests/simulator")


@nox.session
def faults(session: nox.Session) -> None:
    """Real processes that are killed, stopped, starved and cut off: thousands of times, and all places of damage."""
    install(session)
    everything = {
        "AIOQUEUE_KILL_CYCLES": os.environ.get("AIOQUEUE_KILL_CYCLES", "5000"),
        "AIOQUEUE_CHAOS_CYCLES": os.environ.get("AIOQUEUE_CHAOS_CYCLES", "2000"),
        "AIOQUEUE_DEPLOYS": os.environ.get("AIOQUEUE_DEPLOYS", "100"),
        "AIOQUEUE_FAULTS": "all",
    }
    session.run("python", "-m", "pytest", "-m", "faults", *session.posargs, env=everything)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Any bytes, any split; then each target under atheris for `AIOQUEUE_FUZZ_SECONDS`, guided by coverage."""
    session.install("-q", "-e", ".[dev,fuzz]")
    session.run("python", "-m", "pytest", "-m", "fuzz", *session.posargs)
    seconds = os.environ.get("AIOQUEUE_FUZZ_SECONDS", "60")
    listed = session.run("python", "-m", "tests.fuzzing.targets", silent=True)
    for target in str(listed).split():
        limits = [f"-max_total_time={seconds}", "-max_len=8192", "-rss_limit_mb=1024"]
        session.run("python", "-m", "tests.fuzzing", target, *limits)


@nox.session
def bench(session: nox.Session) -> None:
    """Jobs a second and CPU a job, on this machine."""
    install(session)
    session.run("aioqueue", "bench", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Months in minutes: `nox -s soak -- 15`; `--plot docs/internals/soak` draws it."""
    session.install("-q", "-e", ".[dev,soak]")
    session.run("python", "-m", "tests.soak", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documents are spelled right, lead somewhere, and their examples run."""
    install(session)
    session.run("codespell", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs")
    session.run("python", "-m", "pytest", "tests/docs", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """What README's first block does."""
    session.install("-q", ".[demo]")
    session.run("aioqueue", "demo", *session.posargs)
