"""A way to be stopped: a flag that SIGTERM sets, and a sleep that it ends."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator


class Stopped(Exception):
    """Raised out of a sleep when the run is to stop; caught inside this room."""


class Stop:
    """Whether a run was asked to stop: true or false."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def __bool__(self) -> bool:
        return self._asked.is_set()

    def ask(self) -> None:
        """Ask it to."""
        self._asked.set()

    def sleep(self, seconds: float) -> None:
        """Sleep; raises :class:`Stopped` as soon as the run is to stop."""
        if self._asked.wait(seconds):
            raise Stopped

    @contextlib.contextmanager
    def on_sigterm(self) -> Iterator[None]:
        """SIGTERM asks, as long as this lasts (in the main thread; elsewhere Python takes no signals)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, lambda *_: self.ask())
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
