"""`MODULE:QUEUE`: finding an app's `Queue` from the current directory, as Python would import it.

Whatever goes wrong is `AppNotFound` with the reason: no such module, no such name in it, not a `Queue`, or the app's
own error while it was imported, with the place in the app's own code.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import traceback
from typing import Any, Final, NoReturn

from aioqueue.client import connecting
from aioqueue.client.queue import Queue
from aioqueue.errors import AppNotFound
from aioqueue.worker.failures import bounded, text_of, type_of

_FRAMES_SHOWN: Final = 3
# Whose frames tell nobody where the app is wrong.
_NOT_THE_APPS: Final = tuple(
    os.path.join(os.path.dirname(path), "") for path in (os.path.dirname(__file__), asyncio.__file__)
)
_REASON_BYTES_MAX: Final = 2_000


def load_queue(target: str) -> Queue:
    """The queue that `target` names, its module imported; raises `AppNotFound`."""
    module_name, colon, path = target.partition(":")
    if not colon or not module_name or not path:
        raise AppNotFound(target=target, reason="it is not of the form MODULE:QUEUE, for example shop.jobs:queue")
    found: Any = import_app(target, module_name)
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            queues = sorted(key for key, value in vars(found).items() if isinstance(value, Queue))
            hint = f"; it has {', '.join(queues)}" if queues else ""
            raise AppNotFound(target=target, reason=f"{_called(found)} has no {name!r}{hint}") from None
    if not isinstance(found, Queue):
        raise AppNotFound(target=target, reason=f"it is a {type(found).__name__}, not a Queue")
    return found


def import_app(target: str, name: str) -> Any:
    """The module `name` of an app; raises `AppNotFound`, which says `target` and the app's own error."""
    # `python -m` does this by itself; a console script does not.
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    connecting.importing = "the aioqueue command"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            where = f"in {here} or among the installed packages"
            reason = f"there is no module {error.name!r} {where}; run this in the app's folder"
            raise AppNotFound(target=target, reason=reason) from None
        _blame(target, name, error)
    except (Exception, SystemExit) as error:
        _blame(target, name, error)
    finally:
        connecting.importing = ""


def _blame(target: str, name: str, error: BaseException) -> NoReturn:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_of_the_app(frame.filename)]
    places = ", called from ".join(
        f"{frame.filename} line {frame.lineno}" for frame in frames[: -_FRAMES_SHOWN - 1 : -1]
    )
    if isinstance(error, SyntaxError) and error.filename:
        places = f"{error.filename} line {error.lineno}"
    reason = f"importing {name} failed with {type_of(error)}: {' '.join(text_of(error).split())}"
    raise AppNotFound(
        target=target, reason=bounded(f"{reason} ({places})" if places else reason, _REASON_BYTES_MAX)
    ) from None


def _is_of_the_app(filename: str) -> bool:
    return filename != importlib.__file__ and not filename.startswith(("<frozen", *_NOT_THE_APPS))


def _called(found: Any) -> str:
    return f"module {found.__name__}" if hasattr(found, "__name__") else f"the {type(found).__name__}"
