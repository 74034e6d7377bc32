"""The promises as checks: `check_state` judges one state, `History` judges a journal alone.

Tests, the simulator and `aioqueue check` use them; a running broker does not. `History` keeps a small model of its own
and shares no code with `decide`, `apply` and the lanes, so that it cannot make their mistakes with them. The numbers
(I3, I4, ...) are those of the promises in `docs/internals/promises.md`.
"""

from __future__ import annotations

from aioqueue.core.invariants.history import History
from aioqueue.core.invariants.life import Life
from aioqueue.core.invariants.offers import Offers
from aioqueue.core.invariants.state import check_state

__all__ = ["History", "Life", "Offers", "check_state"]
