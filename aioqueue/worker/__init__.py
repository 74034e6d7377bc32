"""Runs jobs: a session at a broker, its slots, and the tasks they call."""

from aioqueue.worker.worker import OnPartition, Worker

__all__ = ["OnPartition", "Worker"]
