"""A supervisor of workers that its service manager knows of: what `aioqueue worker` runs."""

from __future__ import annotations

from aioqueue.cli.manager import manager
from aioqueue.ground import Ground
from aioqueue.worker.channel import WorkerOptions
from aioqueue.worker.supervisor import Supervisor


async def supervise_until_stopped(options: WorkerOptions, processes: int) -> int:
    """Run workers until a signal stops them; the exit code. Raises what `Supervisor.run` raises."""
    service = manager()
    async with service.watched():
        return await Supervisor(
            options, processes, ground=Ground(), on_ready=service.ready, on_stopping=service.stopping
        ).run()
