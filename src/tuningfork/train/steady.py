"""What a run needs around it: the same bits every time, a way to be stopped, and plain words when memory runs out."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import threading
from collections.abc import Iterator

import torch
from torch.utils import deterministic

from ..errors import TrainingError
from .choices import Train


@contextlib.contextmanager
def steady(train: Train) -> Iterator[None]:
    """Deterministic algorithms, a fixed number of threads, and the caller's random state put back afterwards."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filled = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # CUDA's own condition for being deterministic
    try:
        torch.set_num_threads(train.threads or threads)
        torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
        deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # it costs time
        with torch.random.fork_rng():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)
        deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


@contextlib.contextmanager
def memory_told(train: Train) -> Iterator[None]:
    """Turn a device's lack of memory into a :class:`TrainingError` that says which choices need less."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"the device has no memory for batches of {train.batch}: set train.batch = {max(1, train.batch // 2)} and "
            f"train.accumulate = {2 * train.accumulate}, which learns nearly the same ({str(error)[:200]})"
        ) from error


class Stop:
    """Whether a run was asked to stop: true or false."""

    asked = False

    def __bool__(self) -> bool:
        return self.asked

    def ask(self) -> None:
        """Ask it to."""
        self.asked = True


@contextlib.contextmanager
def stop_asked() -> Iterator[Stop]:
    """A flag that SIGTERM sets (in the main thread; elsewhere Python takes no signals)."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop.ask())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)


def mixed(seed: int, step: int) -> int:
    """A seed for one step: 62 bits of sha256("seed:step")."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{step}".encode()).digest()[:8], "big") >> 2
