"""Work done in threads ahead of the network: batches in order, never more than a few in flight, so memory stays."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Batch = TypeVar("Batch")


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[list[Item]], Batch], items: Iterable[Item], size: int, window: int
) -> Iterator[Batch]:
    """What ``work`` makes of ``items``, ``size`` at a time (the last may be fewer), in their order.

    It runs in the threads of ``pool``, with at most ``window`` results in flight; ``items`` are read in the caller's
    thread as they are needed. What ``work`` raises is raised here, in its turn.
    """
    iterator, flying = iter(items), deque[Future[Batch]]()
    while chunk := list(islice(iterator, size)):
        flying.append(pool.submit(work, chunk))
        if len(flying) >= window:
            yield flying.popleft().result()
    while flying:
        yield flying.popleft().result()
