"""What every test shares: the real galaxies, where they are, and quiet single-threaded libraries."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real galaxies: TUNINGFORK_DATA, or shared/data beside the checkout; skips where it is absent."""
    named = os.environ.get("TUNINGFORK_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "gz1" / "labels.csv").exists():
        pytest.skip(
            "the real galaxies are not here: set TUNINGFORK_DATA to the folder that holds gz1/, efigi/, fits/ ..."
        )
    return folder


@dataclass
class Ran:
    """What a command left: its exit code, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """The command line as a user types it: ``run("train", "--data", folder)``."""
    from tuningfork import cli

    def call(*words: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["tuningfork", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capfd.readouterr()
        return Ran(stop.value.code or 0, captured.out, captured.err)

    return call
