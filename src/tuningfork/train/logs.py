"""What a run tells while it runs: log.csv, one row per epoch, and the curves of TensorBoard."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import disk
from ..errors import MissingExtra


def write_csv(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Write the epochs as CSV with a header, whole or not at all; nothing if there is none yet."""
    if history:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, fieldnames=list(history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        disk.write_text(path, stream.getvalue())


class Curves:
    """TensorBoard's event files in a folder; the library writes them itself. Raises :class:`MissingExtra`.

    ``step``: where a resumed run goes on; points beyond it that an earlier attempt wrote are dropped by the viewer.
    """

    def __init__(self, folder: Path, step: int) -> None:
        try:
            tensorboard = importlib.import_module("torch.utils.tensorboard")
        except ImportError as error:
            raise MissingExtra("tensorboard", "train") from error
        disk.make_folder(folder)
        self._writer = tensorboard.SummaryWriter(str(folder), purge_step=step, flush_secs=30)

    def add(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add one point to each named curve."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()
