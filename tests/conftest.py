"""What every test shares: one Hypothesis profile, so that a failure is the same on every machine."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Two shared cores make any single example slow at times; a deadline would test the machine, not the code.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
# In CI the same examples every time: a red run must mean a change of the code.
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
