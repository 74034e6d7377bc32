"""`aioqueue bench`: the figures of this machine, through real processes, a real port and a real journal file.

Every figure is measured the way `docs/benchmarks.md` quotes it, so that it can be repeated. Absolute speed drifts with
the machine; CPU per job is steadier, and ratios within one run are steadiest.
"""
