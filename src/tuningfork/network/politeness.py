"""Politeness to a server: how often it is asked, by all our processes together, and when it is asked again."""

from __future__ import annotations

import email.utils
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import SystemRandom
from typing import Any

from .. import disk
from ..errors import DiskError, Locked

Draw = Callable[[], float]

draw: Draw = SystemRandom().random  # not seeded: forked processes must not draw the same


def full_jitter(failures: int, first: float, longest: float, draw: Draw) -> float:
    """Seconds to wait after so many failures (1, 2, ...): uniform in [0, min(longest, first 2^(failures - 1))).

    "Full jitter" of Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return draw() * min(longest, first * 2.0 ** min(failures - 1, 60))


def retry_after(headers: dict[str, str], now: float) -> float | None:
    """Seconds that the header Retry-After asks us to stay away (RFC 9110, 10.2.3), or None if it says nothing sane.

    A date is counted from the server's own Date where it tells one, so that a wrong clock, here or there, does not
    matter; ``now`` (Unix time, s) stands in otherwise. A date that has passed is 0.
    """
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return min(float(said), 1e9)
    until = _date(said)
    if until is None:
        return None
    sent = _date(headers.get("date", ""))
    return max(0.0, until - (now if sent is None else sent))


def _date(said: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(said).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


class Bucket:
    """A bucket of one token per host, shared by every process that names the same ``folder``.

    A host that gives ``rate`` tokens a second lets one request start every 1/rate seconds (the generic cell rate
    algorithm with a burst of one): whoever comes takes the next free time from a small file under a lock, then sleeps
    until it. A server's Retry-After moves that time for everybody. ``now`` is Unix time in s, which processes on
    several machines share; a clock set back moves the stored times back with it.
    """

    def __init__(self, folder: str | Path, now: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self.folder, self._now, self._sleep = Path(folder), now, sleep
        self._turn = threading.Lock()

    def take(self, host: str, rate: float, patience: float = math.inf) -> float:
        """Wait for a token and take it; returns 0, or, without waiting, the seconds still to go if above ``patience``.

        Nothing is taken in the latter case. ``rate`` is in tokens per s; infinity leaves only pauses to wait for.
        """
        while True:
            wait = self._reserve(host, 1.0 / rate, patience)
            if wait > patience:
                return wait
            end = self._now() + wait
            while (left := end - self._now()) > 0:
                self._sleep(left)
            if self._read(host)["pause"] <= self._now():  # else somebody was sent away meanwhile
                return 0.0

    def pause(self, host: str, seconds: float) -> None:
        """Nobody asks ``host`` for so many seconds from now."""
        with _Held(self, host):
            state = self._read(host)
            self._write(host, {**state, "pause": max(state["pause"], self._now() + seconds)})

    def _reserve(self, host: str, period: float, patience: float) -> float:
        if period == 0.0:
            return max(0.0, self._read(host)["pause"] - self._now())
        with _Held(self, host):
            state, now = self._read(host), self._now()
            start = max(now, state["next"], state["pause"])
            if start - now <= patience:
                self._write(host, {**state, "next": start + period})
            return start - now

    def _read(self, host: str) -> dict[str, float]:
        """The times of a host, moved with the clock if that was set back by more than a minute."""
        empty = {"next": 0.0, "pause": 0.0, "written": 0.0}
        path = self.place(host) / "times.json"
        if not path.exists():
            return empty
        try:
            state: dict[str, Any] = disk.read_json(path)
            times = {key: float(state[key]) for key in empty}
        except (DiskError, KeyError, TypeError, ValueError):
            return empty
        back = times["written"] - self._now()
        return {key: value - back for key, value in times.items()} if back > 60 else times

    def _write(self, host: str, state: dict[str, float]) -> None:
        disk.write_json(self.place(host) / "times.json", {**state, "written": self._now()})

    def place(self, host: str) -> Path:
        """The folder of one host's times."""
        return self.folder / disk.safe_name(host)


class _Held:
    """One process, and one thread of it, holds a host's file; the others come back after some milliseconds."""

    def __init__(self, bucket: Bucket, host: str) -> None:
        self._bucket, self._host = bucket, host

    def __enter__(self) -> None:
        self._bucket._turn.acquire()
        try:
            self._lock = self._taken()
        except BaseException:
            self._bucket._turn.release()
            raise

    def _taken(self) -> Any:
        tries = 0
        while True:
            lock = disk.lock(self._bucket.place(self._host))
            try:
                lock.__enter__()
                return lock
            except Locked:
                tries += 1
                if tries > 10_000:  # a minute or so: its holder was stopped
                    raise
                time.sleep(0.001 + 0.009 * draw())

    def __exit__(self, *_: object) -> None:
        try:
            self._lock.__exit__(None, None, None)
        finally:
            self._bucket._turn.release()
