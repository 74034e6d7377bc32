"""What a principal may be allowed to do, by name. Every message of the wire names the right that it needs.

Only the names stand here: who holds which is judged by whoever knows the principals.
"""

from __future__ import annotations

from enum import IntFlag


class Right(IntFlag):
    """One bit each; a row that names several is allowed to who holds any of them."""

    # What every connection may say: it opens the conversation, or keeps it alive.
    NONE = 0
    SUBMIT = 1
    # Said for a session of one's own: to take jobs and to settle them.
    WORK = 2
    READ = 4
    OPERATE = 8
    ADMIN = 16
