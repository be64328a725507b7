"""What became of the rows of an export: counts, and the table of the rejected ones."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from .. import disk
from .exports import Fault
from .tasks import FLAWS, Flaw

_REJECTED = pa.schema([("row", pa.int64()), ("reason", pa.string()), ("detail", pa.string())])


@dataclass
class Account:
    """What became of an export's rows: ``n_in`` = ``n_done`` + ``n_rejected``, always.

    ``rejected`` counts by reason (:class:`~tuningfork.survey.exports.Fault`); ``flaws`` counts what of the answers
    could not be used, by kind (:data:`~tuningfork.survey.tasks.FLAWS`) and name; ``n_left_out`` are the rows of other
    workflows, which are not in ``n_in``. ``n_clicks`` are the votes that count.
    """

    layout: str = ""
    n_in: int = 0
    n_done: int = 0
    n_clicks: int = 0
    n_left_out: int = 0
    workflows: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    flaws: Counter[Flaw] = field(default_factory=Counter)

    @property
    def n_rejected(self) -> int:
        """All rejected rows."""
        return sum(self.rejected.values())

    def lines(self, what: str = "rows") -> list[str]:
        """The account as lines of text."""
        out = [f"{self.n_in:,} {what} in = {self.n_done:,} done + {self.n_rejected:,} rejected"]
        out += [f"  rejected, {reason}: {number:,}" for reason, number in self.rejected.most_common()]
        if self.n_left_out:
            out.append(f"  {self.n_left_out:,} rows of other workflows left out")
        if len(self.workflows) > 1:
            shown = ", ".join(f"{name} ({number:,})" for name, number in self.workflows.most_common(8))
            out.append(f"  workflows, all of them counted: {shown}; choose one if a task means different things")
        for kind, words in FLAWS.items():
            found = Counter({name: number for (one, name), number in self.flaws.items() if one == kind})
            if found:
                shown = "; ".join(f"{name} ({number:,})" for name, number in found.most_common(8))
                more = f"; and {len(found) - 8} more" if len(found) > 8 else ""
                out.append(f"  {words}: {shown}{more}")
        if any(kind in ("task", "answer") for kind, _ in self.flaws):
            out.append('  to say what these are, give a map: [T0] question = "..." and [T0.answers] "text" = "..."')
        return out


class Rejects:
    """The table of rejected rows (row, reason, detail), written as it grows; a context that makes the file."""

    def __init__(self, path: str | Path, account: Account) -> None:
        self.path, self._account = Path(path), account
        self._rows: list[tuple[int, str, str]] = []
        self._stack = ExitStack()

    def __enter__(self) -> Rejects:
        part = self._stack.enter_context(disk.atomic(self.path))
        self._writer = self._stack.enter_context(pq.ParquetWriter(part, _REJECTED))
        return self

    def add(self, row: int, reason: Fault, detail: str) -> None:
        """Reject one row, counted from 1 = the header; only the first 200 characters of the detail are kept."""
        self._account.rejected[str(reason)] += 1
        self._rows.append((row, str(reason), " ".join(detail.split())[:200]))
        if len(self._rows) >= 50_000:
            self._flush()

    def _flush(self) -> None:
        columns = list(zip(*self._rows, strict=True)) or [(), (), ()]
        self._writer.write_table(
            pa.table([pa.array(c, f.type) for c, f in zip(columns, _REJECTED, strict=True)], schema=_REJECTED)
        )
        self._rows.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        self._stack.__exit__(kind, error, trace)
