"""What became of each galaxy so far: a ledger of outcomes, and the fetched pieces themselves, safe against any kill."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import disk
from ..errors import Reason
from ..galaxy.cutout import Record, Rejected

OK, NO_COVERAGE, TRANSIENT, PERMANENT = "ok", "no_coverage", "transient", "permanent"
GROUP, PATIENCE = 64, 0.5  # outcomes, or seconds, after which the ledger is told; a galaxy turned away is told at once
_PIECE = ("format", "pixel_scale", "ra", "dec", "source", "sha256")


@dataclass(frozen=True)
class Outcome:
    """What came of asking for one galaxy, when (Unix time, s), and in how many runs it was asked for.

    ``state`` is "ok", "no_coverage", "transient" (worth another run) or "permanent". ``url`` is told for galaxies that
    were turned away; of the others it is the ``source`` in the store.
    """

    id: str
    state: str
    reason: str = ""
    detail: str = ""
    url: str = ""
    time: float = 0.0
    tries: int = 1

    @classmethod
    def refused(cls, rejected: Rejected, when: float = 0.0, tries: int = 1) -> Outcome:
        """The outcome of a galaxy that was turned away; its state follows from the reason."""
        state = {Reason.NO_COVERAGE: NO_COVERAGE, Reason.UNREACHABLE: TRANSIENT}.get(rejected.reason, PERMANENT)
        return cls(rejected.id, state, str(rejected.reason), rejected.detail, rejected.source, when, tries)

    @property
    def rejected(self) -> Rejected:
        """As the rejected table shows it; only where the state is not "ok"."""
        return Rejected(self.id, Reason(self.reason), self.detail, self.url)


class Ledger:
    """The outcomes of one gathering, in ``ledger.jsonl``, and its pieces, one file each, in ``pieces``.

    A piece is written whole, with its digest, by the thread that fetched it, before its outcome is noted. So the
    ledger may lag behind the pieces (it is told in groups, to save waits for the disk) and loses nothing by it: after
    a kill a piece that nobody noted counts as fetched. Whoever makes one holds the lock of ``folder``. ``now`` is Unix
    time in s.
    """

    def __init__(self, folder: Path, ids: Sequence[str], now: Callable[[], float] = time.time) -> None:
        self.folder, self._ids, self._now = folder, ids, now
        self._pieces = disk.make_folder(folder / "pieces")
        self._file = disk.Ledger(folder / "ledger.jsonl")
        self._guard = threading.Lock()
        self._waiting: list[Outcome] = []
        self._lost: dict[str, int] = {}
        self._told = time.monotonic()
        disk.sweep(folder)
        disk.sweep(self._pieces)
        self.outcomes: dict[str, Outcome] = {}
        for line in self._file.read():
            for fields in line["outcomes"]:
                outcome = Outcome(**fields)
                self.outcomes[outcome.id] = outcome
        self.held = self._find()
        self.n_rejected = sum(outcome.state != OK for outcome in self.outcomes.values())

    def _find(self) -> set[str]:
        """The ids whose piece is here; one that the ledger does not know as fetched is noted as such."""
        names = {path.name for path in self._pieces.iterdir()}
        if not names:
            return set()
        held = {identifier for identifier in self._ids if disk.safe_name(identifier) in names}
        for identifier in held:
            before = self.outcomes.get(identifier)
            if before is None or before.state != OK:
                when = self._head(identifier).get("time", 0.0)
                self.outcomes[identifier] = Outcome(identifier, OK, time=when, tries=self.tries(identifier) + 1)
        return held

    def tries(self, identifier: str) -> int:
        """In how many runs this galaxy was asked for."""
        before = self.outcomes.get(identifier)
        return self._lost.get(identifier, 0) if before is None else before.tries

    def note(self, outcome: Outcome) -> None:
        """Write down what became of one galaxy; any thread may."""
        with self._guard:
            before = self.outcomes.get(outcome.id)
            self.n_rejected += (outcome.state != OK) - (before is not None and before.state != OK)
            outcome = dataclasses.replace(outcome, time=self._now(), tries=self.tries(outcome.id) + 1)
            self.outcomes[outcome.id] = outcome
            self._waiting.append(outcome)
            if outcome.state == OK:
                self.held.add(outcome.id)
            late = time.monotonic() - self._told > PATIENCE
            if outcome.state != OK or late or len(self._waiting) >= GROUP:
                self._flush()

    def flush(self) -> None:
        """Bring to the disk what was noted."""
        with self._guard:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._file.append({"outcomes": [_fields(outcome) for outcome in self._waiting]})
            self._waiting = []
        self._told = time.monotonic()

    def settle(self) -> None:
        """Write the ledger anew, a line a galaxy in the catalogue's order: the same whatever happened before."""
        self._waiting = []
        known = (self.outcomes[identifier] for identifier in self._ids if identifier in self.outcomes)
        lines = [json.dumps({"outcomes": [_fields(outcome)]}) + "\n" for outcome in known]
        disk.write_text(self._file.path, "".join(lines))

    # --- pieces -------------------------------------------------------------------------------------------------------

    def keep(self, record: Record) -> None:
        """Write one fetched galaxy to the disk; any thread may."""
        fields = {name: getattr(record, name) for name in _PIECE}
        head = {"id": record.id, "bands": list(record.bands), "time": self._now(), **fields}
        content = json.dumps(head).encode() + b"\n" + record.data
        disk.write_bytes(self._place(record.id), disk.sha256(content).encode() + b"\n" + content)

    def piece(self, identifier: str) -> Record | None:
        """A fetched galaxy, its digest verified; None where it is not here, or damaged (then it is removed)."""
        try:
            digest, _, content = self._place(identifier).read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        head, _, data = content.partition(b"\n")
        if disk.sha256(content).encode() == digest:
            fields = json.loads(head)
            if fields.pop("id") == identifier:
                del fields["time"]
                return Record(id=identifier, data=data, **fields | {"bands": tuple(fields["bands"])})
        disk.remove(self._place(identifier))
        self.held.discard(identifier)
        return None

    def _head(self, identifier: str) -> dict[str, Any]:
        """What a piece says of itself; nothing where it is damaged, which :meth:`piece` will find."""
        with contextlib.suppress(ValueError, IndexError, OSError):
            found = json.loads(self._place(identifier).read_bytes().split(b"\n", 2)[1])
            return found if isinstance(found, dict) else {}
        return {}

    def drop(self) -> None:
        """Remove all pieces: the store has them now."""
        for path in list(self._pieces.iterdir()):
            disk.remove(path)
        self.held.clear()

    def _place(self, identifier: str) -> Path:
        return self._pieces / disk.safe_name(identifier)

    # --- what it says -------------------------------------------------------------------------------------------------

    def left(self, retry_rejected: bool) -> Iterator[int]:
        """The rows that have to be asked for (again): never asked, transient, or turned away if ``retry_rejected``."""
        for row, identifier in enumerate(self._ids):
            outcome = self.outcomes.get(identifier)
            if outcome is None or outcome.state == TRANSIENT or (retry_rejected and outcome.state != OK):
                yield row

    def digest(self) -> str:
        """What became of all: it changes when a galaxy comes, goes, or is turned away for another reason."""
        return disk.sha256("\n".join(f"{i} {_brief(self.outcomes.get(i))}" for i in self._ids).encode())

    def forget(self, identifiers: Iterable[str]) -> None:
        """These have been lost on the disk: they have to be asked for again."""
        for identifier in identifiers:
            self._lost[identifier] = self.tries(identifier)
            self.outcomes.pop(identifier, None)


def _fields(outcome: Outcome) -> dict[str, object]:
    """An outcome without the fields that say nothing."""
    return {key: value for key, value in vars(outcome).items() if value != ""}


def _brief(outcome: Outcome | None) -> str:
    return "" if outcome is None else f"{outcome.state} {outcome.reason}"
