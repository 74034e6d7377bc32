"""`python submit.py FOLDER PHOTO...`: have photographs resized, and tell of each picture when it is there."""

import asyncio
import sys
from pathlib import Path

from jobs import print_it, queue, resize, thumbnail


async def main(folder: Path, photos: list[Path]) -> None:
    calls = [resize.call(photo, width, folder) for photo in photos for width in (360, 240, 120)]
    calls += [thumbnail.call(photo, folder) for photo in photos]
    calls.append(print_it.call(photos[0], folder))

    async with queue:
        jobs = await queue.submit_many(calls)  # all of them, or none
        for done in asyncio.as_completed(jobs):
            made = await done
            print(f"{made.file.name} {made.width}x{made.height}", flush=True)
        print(f"{len(jobs)} pictures; the print took {(await jobs[-1].info()).failures + 1} attempts")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).resolve(), [Path(word).resolve() for word in sys.argv[2:]]))
