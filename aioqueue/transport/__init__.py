"""Bytes in motion: addresses, streams over TCP and in memory, and one peer's connection over either."""
