"""One piece of work per process at a time: one that hangs, or whose process is killed, is lost alone."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from ..errors import Reason, TuningforkError

Item = TypeVar("Item")
Result = TypeVar("Result")

STARTING = 300.0  # s in which a process must be ready: imports from a slow disk
LOOK = 0.5  # s between two looks at whether to stop
AHEAD = 1024  # results that may wait for one that is slow


@dataclass(frozen=True)
class Lost:
    """A piece of work without a result: TOO_SLOW, or FAILED where its process died."""

    reason: Reason
    detail: str


def in_processes(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    limit: float,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Result | Lost]:
    """``work`` of each item, in their order, by so many processes; ``work``, items and results must be picklable.

    An item that takes more than ``limit`` seconds, or whose process dies, comes as :class:`Lost`; a new process takes
    the next. Processes are spawned, so that threads and locks of this one are no danger. What ``work`` raises is Lost
    too. Where ``stop`` says so, it ends after what has come so far. Raises TuningforkError where processes cannot
    start, as in scripts without ``if __name__ == "__main__":``.
    """
    crew: list[_Worker[Item]] = []
    waiting, results, told, given, more = iter(items), dict[int, Any](), 0, 0, True
    try:
        while not stop():
            while told in results:
                yield results.pop(told)
                told += 1
            if more and len(crew) < workers:
                crew.append(_Worker(work))
            for one in crew:
                while more and one.ready and one.item is None and given - told < AHEAD:
                    try:
                        one.give(given, next(waiting), limit)
                    except StopIteration:
                        more = False
                    else:
                        given += 1
            if not more and told == given:
                return
            _listen(crew, results, limit)
    finally:
        for one in crew:
            one.end()


def _listen(crew: list[_Worker[Any]], results: dict[int, Any], limit: float) -> None:
    """Wait a little for answers; take what came, and let go of processes that died or took too long."""
    until = min((one.deadline for one in crew), default=0.0)
    heard = wait([one.pipe for one in crew], max(0.0, min(LOOK, until - time.monotonic())))
    for one in list(crew):
        lost = None
        if one.pipe in heard:
            lost = one.hear(results)
        elif time.monotonic() > one.deadline:
            lost = Lost(Reason.TOO_SLOW, f"it took more than {limit:g} seconds")
        if lost is not None:
            one.end()
            crew.remove(one)
            if one.item is None:
                raise TuningforkError(
                    "the processes that measure could not start: put what your script does under "
                    f'if __name__ == "__main__":, and run it from a file ({lost.detail})'
                )
            results[one.item] = lost


@dataclass(eq=False)
class _Worker(Generic[Item]):
    """One process: what it has in hand (a number), and until when."""

    work: Callable[[Item], Any]
    item: int | None = None
    ready: bool = False
    deadline: float = field(init=False)
    pipe: Connection = field(init=False)

    def __post_init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.work), daemon=True)
        self.process.start()
        theirs.close()
        self.deadline = time.monotonic() + STARTING

    def give(self, number: int, item: Item, limit: float) -> None:
        self.item, self.deadline = number, time.monotonic() + limit
        with contextlib.suppress(OSError):  # it died meanwhile: its silence is heard next
            self.pipe.send(item)

    def hear(self, results: dict[int, Any]) -> Lost | None:
        """Take a result, or the word that it is ready; Lost where it died."""
        try:
            came = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(5)
            code = self.process.exitcode
            how = f"was killed by signal {-code}, as for want of memory" if code and code < 0 else f"ended with {code}"
            return Lost(Reason.FAILED, f"its process {how}")
        if self.item is not None:
            results[self.item] = came
        self.ready, self.item, self.deadline = True, None, float("inf")
        return None

    def end(self) -> None:
        """Kill the process: whatever it does, its result is not waited for."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe: Connection, work: Callable[[Any], Any]) -> None:
    """The process: say that it is ready, then answer item by item until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is for the process that asked
    with contextlib.suppress(EOFError, OSError):
        pipe.send(None)
        while True:
            item = pipe.recv()
            try:
                answer = work(item)
            except Exception as error:
                answer = Lost(Reason.FAILED, f"{type(error).__name__}: {error}"[:200])
            pipe.send(answer)
