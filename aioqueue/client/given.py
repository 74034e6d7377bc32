"""`Given`: what a worker hands to a task besides its arguments, known by the annotation that asks for it.

It stands below signatures and tasks, which must tell such a parameter from an argument, and below `Context`, the one
kind there is, which knows tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final


class Given:
    """Base of what a task may ask for by annotating a parameter."""


# Its name is all there is where it is imported for type checkers only.
GIVEN_NAME: Final = "Context"
# Makes what a task is given that is called directly, without a worker: of the task's name and its queue's.
GiveAlone = Callable[[str, str], Given]
