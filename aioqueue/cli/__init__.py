"""The command line: parsing, printing and exit codes. What commands do is done by the parts they call.

`main` is the `aioqueue` program. Every command imports what it needs when it runs, so that `aioqueue --help` starts
no broker's worth of modules.
"""

from __future__ import annotations


def main() -> None:
    """Run one command, and end the process with its exit code."""
    import os
    import sys

    if os.getpid() == 1:
        from aioqueue.cli.container import run_as_first

        sys.exit(run_as_first(sys.argv[1:]))
    from aioqueue.cli.app import run

    sys.exit(run(sys.argv[1:]))
