"""aioqueue: a durable, fair and explainable job queue that reads like asyncio."""

__version__ = "0.1.0"
