"""A library's every exception and warning, turned into one BadImage."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Iterator

from ..errors import BadImage, Reason

# Before Python 3.14 the warning filters belong to the whole process: two threads that change and restore them at once
# leave them changed for good. So one thread at a time, and nobody holds the lock across a fork.
_lock = threading.RLock()


def _renew() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew)


def locked() -> threading.RLock:  # type: ignore[valid-type]
    """The lock to hold while the warning filters are changed."""
    return _lock


_SHORT = ("truncat", "premature", "unexpected end", "end of file", "not enough", "too short", "missing end", "eof")


@contextlib.contextmanager
def strictly(what: str) -> Iterator[None]:
    """Run a library on untrusted bytes: warnings are errors, and whatever is raised leaves as BadImage.

    BadImage itself passes. MemoryError becomes TOO_LARGE, a message that speaks of missing bytes TRUNCATED, anything
    else CORRUPT. One thread at a time (see above): for libraries whose warnings cannot be had otherwise.
    """
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("error")
        with translated(what):
            yield


@contextlib.contextmanager
def translated(what: str) -> Iterator[None]:
    """As :func:`strictly`, without touching the warning filters: for any number of threads."""
    try:
        yield
    except BadImage:
        raise
    except MemoryError as error:
        raise BadImage(Reason.TOO_LARGE, f"{what}: not enough memory") from error
    except Exception as error:
        text = f"{what}: {type(error).__name__}: {error}"
        bomb = "DecompressionBomb" in type(error).__name__
        short = any(word in str(error).lower() for word in _SHORT)
        raise BadImage(Reason.TOO_LARGE if bomb else Reason.TRUNCATED if short else Reason.CORRUPT, text) from error
