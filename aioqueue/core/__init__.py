"""The life of jobs, and nothing else: what is decided, what is so, what is owed.

    commands (asked) -> decide -> events (it is so) -> apply -> effects (the shell owes this)

`partition.Partition` puts the two together. No asyncio, no clock, no chance, no storage, no logging: time and chance
are arguments, payloads are opaque bytes that pass through.
"""
