"""`python -m aioqueue`: the same as the command `aioqueue`."""

from aioqueue.cli import main

if __name__ == "__main__":
    main()
