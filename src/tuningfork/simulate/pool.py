"""Work on chunks of a simulation in several processes, its results in order."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

from ..errors import TuningforkError

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Chunk], Result], chunks: Sequence[Chunk], workers: int | None, alone: bool
) -> Iterator[Result]:
    """``work`` of each chunk, in their order, by so many processes; ``work`` and chunks must be picklable.

    ``workers`` None means one per core, or none beside this process where ``alone`` says that it is not worth while
    (and where the running script came through a pipe, which no other process could load).
    Raises TuningforkError where the processes die, as in scripts without ``if __name__ == "__main__":``.
    """
    if workers is None:
        workers = 1 if alone or not _can_spawn() else len(os.sched_getaffinity(0))
    if workers <= 1:
        yield from map(work, chunks)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield from pool.map(work, chunks)
        except BrokenProcessPool as error:
            raise TuningforkError(
                "the processes that draw galaxies ended early: put what your script does under "
                'if __name__ == "__main__":, or say workers=1; run it again and it continues'
            ) from error


def _can_spawn() -> bool:
    main = getattr(sys.modules["__main__"], "__file__", None)
    return main is None or Path(main).exists()
