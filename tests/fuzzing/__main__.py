"""`python -m tests.fuzzing TARGET [options of libFuzzer]`: one target under atheris, guided by coverage.

Needs the extra `fuzz`. `nox -s fuzz` runs every target for `AIOQUEUE_FUZZ_SECONDS` (60 by default). What was found is
written to a file `crash-…`; `python -m tests.fuzzing TARGET FILE` plays it again, and it becomes a named test.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

with atheris.instrument_imports(include=["aioqueue"]):
    from tests.fuzzing.seeds import SEEDS
    from tests.fuzzing.targets import TARGETS


def main() -> None:
    """Fuzz until an option of libFuzzer's ends it, or a target fails."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(f"which of these: {' '.join(TARGETS)}")

    def feed(data: bytes) -> None:
        TARGETS[name](data)

    if any(Path(word).is_file() for word in sys.argv[1:]):
        atheris.Setup(sys.argv, feed)
        atheris.Fuzz()
    with TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS[name]):
            Path(corpus, f"seed-{number}").write_bytes(seed)
        atheris.Setup([*sys.argv, corpus], feed)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
