"""One gathering: ask for what is missing, keep what comes, then make the store in the catalogue's order."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from .. import disk
from ..errors import BadImage, BadStore
from ..galaxy.cutout import Record, Rejected
from ..galaxy.store import LEDGER, MANIFEST, Store, StoreWriter
from ..network import ReplyError
from .ledger import OK, TRANSIENT, Ledger, Outcome
from .origin import Job, Origin
from .service import Request
from .stop import Stop, Stopped
from .targets import Targets

GIVE_UP = 25  # galaxies in a row that nobody answered for: then the others are left for another run
_MADE = "made.json"
Progress = Callable[[int, int, str], None]


class Gathering:
    """The state of one call of :func:`~tuningfork.survey.gather.gather`, whose folder is claimed and locked.

    Pieces and outcomes are in ``ledger``; ``writer`` makes the store. ``silent`` counts the galaxies in a row that
    nobody answered for.
    """

    def __init__(
        self,
        out: Path,
        targets: Targets,
        origin: Origin,
        ledger: Ledger,
        writer: Callable[[], StoreWriter],
        stop: Stop,
        progress: Progress | None = None,
    ) -> None:
        self.out, self.targets, self.origin, self.ledger, self.writer = out, targets, origin, ledger, writer
        self.stop, self.progress = stop, progress
        self.silent = 0
        self._began, self._fetched = time.monotonic(), 0

    def through(self, workers: int, retry_rejected: bool) -> bool:
        """Ask for what is missing, then make the store; False where it stopped before everything was asked for."""
        ledger = self.ledger
        store = self._whole_store()
        have = ledger.held | set(store.ids if store is not None else ())
        ledger.forget([i for i, outcome in ledger.outcomes.items() if outcome.state == OK and i not in have])
        try:
            self._fetch(self.targets.order(ledger.left(retry_rejected)), workers)
            given_up = self.silent >= GIVE_UP and len(ledger.outcomes) == len(self.targets)
            if self.stop and not given_up:
                return False
            if store is None or self._made() != ledger.digest():
                if store is not None:
                    self._stage(store.records(), workers)
                    self._unmake()
                self._assemble()
        finally:
            self.origin.close()
        ledger.settle()
        ledger.drop()
        return True

    # --- asking -------------------------------------------------------------------------------------------------------

    def _fetch(self, rows: list[int], workers: int) -> None:
        """Ask for these rows, ``workers`` at a time; what comes is kept by the thread that asked."""
        done: queue.SimpleQueue[Future[Outcome]] = queue.SimpleQueue()
        jobs, asking = self.origin.jobs(self._askable(rows)), 0
        pool = ThreadPoolExecutor(workers)
        try:
            while True:
                while asking < 2 * workers and not self.stop and (job := next(jobs, None)) is not None:
                    pool.submit(self._take, job).add_done_callback(done.put)
                    asking += 1
                if not asking:
                    break
                self._see(done.get())
                asking -= 1
        except BaseException:
            self.stop.ask()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            self.ledger.flush()

    def _askable(self, rows: Iterable[int]) -> Iterator[Request]:
        """The requests; rows that none can be made of are turned away in passing."""
        for request in self.targets.requests(rows):
            if isinstance(request, Rejected):
                self._count(self._noted(Outcome.refused(request)))
            else:
                yield request

    def _take(self, job: Job) -> Outcome:
        """Fetch, prove and keep one galaxy, and write down what became of it; runs in a thread."""
        request, take = job
        if self.stop:
            raise Stopped
        try:
            self.ledger.keep(take())
            return self._noted(Outcome(request.id, OK))
        except BadImage as error:
            cause = error.__cause__
            url = cause.url if isinstance(cause, ReplyError) else self.origin.name
            return self._noted(Outcome.refused(Rejected(request.id, error.reason, error.detail, url)))

    def _noted(self, outcome: Outcome) -> Outcome:
        self.ledger.note(outcome)
        return outcome

    def _see(self, future: Future[Outcome]) -> None:
        with contextlib.suppress(Stopped):
            outcome = future.result()
            self._count(outcome)
            self.silent = self.silent + 1 if outcome.state == TRANSIENT else 0
            if self.silent >= GIVE_UP:
                self.stop.ask()

    def _count(self, outcome: Outcome) -> None:
        self._fetched += 1
        if self.progress is not None:
            rate = self._fetched / max(time.monotonic() - self._began, 1e-3)
            text = f"{self.ledger.n_rejected} rejected, {rate:.1f}/s"
            self.progress(len(self.ledger.outcomes), len(self.targets), text)

    # --- the store ----------------------------------------------------------------------------------------------------

    def _whole_store(self) -> Store | None:
        """The store that an earlier run made, every byte of it proven; None if there is none.

        Of a damaged one the galaxies that are sound are put back among the pieces, and the store is made anew.
        """
        if not (self.out / MANIFEST).exists():
            return None
        try:
            store = Store.open(self.out)
        except BadStore:  # a table of it is damaged: if all shards are sound the writer makes it again
            with contextlib.suppress(Stopped), self.writer() as writer:
                if writer.n_in < len(self.targets):
                    raise Stopped from None
            store = Store.open(self.out)
        if not store.verify():
            return store
        self._stage(store.records(), 1)
        self._unmake()
        return None

    def _stage(self, items: Iterable[Record | Rejected], workers: int) -> None:
        """Put the galaxies of a store back among the pieces, so that the store can be made anew."""
        records = (item for item in items if isinstance(item, Record) and item.id not in self.ledger.held)
        with ThreadPoolExecutor(workers) as pool:
            waiting: list[Future[None]] = []
            for record in records:
                waiting.append(pool.submit(self.ledger.keep, record))
                if len(waiting) >= 4 * workers:
                    waiting.pop(0).result()
                self.ledger.held.add(record.id)
            for future in waiting:
                future.result()

    def _made(self) -> str:
        """The digest of the outcomes that the shards were, or are being, made of."""
        path = self.out / "gather" / _MADE
        return str(disk.read_json(path).get("outcomes", "")) if path.exists() else ""

    def _unmake(self) -> None:
        """The pieces have everything: from here on the shards count for nothing."""
        disk.remove(self.out / MANIFEST)
        disk.remove(self.out / LEDGER)

    def _assemble(self) -> None:
        """The pieces and rejected galaxies, in the catalogue's order, as a store; killed, it goes on."""
        if self._made() != self.ledger.digest():
            self._unmake()
            disk.write_json(self.out / "gather" / _MADE, {"outcomes": self.ledger.digest()})
        ids = self.targets.ids
        with self.writer() as writer:
            for row in range(writer.n_in, len(ids)):
                item = self._item(row)
                if isinstance(item, Rejected):
                    writer.reject(item)
                else:
                    writer.add(item)
                if self.progress is not None and row % 64 == 0:
                    self.progress(len(ids), len(ids), f"{100 * row // len(ids)}% of the store is written")
        names = {shard.name for shard in writer.shards}
        for path in self.out.glob("shard-*.parquet"):
            if path.name not in names:  # of a longer store that was made before
                disk.remove(path)
        if self._made() != self.ledger.digest():  # a damaged piece was asked for again, and did not come
            disk.write_json(self.out / "gather" / _MADE, {"outcomes": self.ledger.digest()})

    def _item(self, row: int) -> Record | Rejected:
        """A galaxy as it goes into the store; one whose piece was damaged on the disk is asked for again."""
        identifier = self.targets.ids[row]
        outcome = self.ledger.outcomes[identifier]
        if outcome.state != OK:
            return outcome.rejected
        record = self.ledger.piece(identifier)
        if record is not None:
            return record
        self._fetch([row], 1)
        outcome, record = self.ledger.outcomes[identifier], self.ledger.piece(identifier)
        if outcome.state != OK:
            return outcome.rejected
        if record is None:
            raise BadStore(f"what was fetched of '{identifier}' is damaged on the disk: run the same command again")
        return record
