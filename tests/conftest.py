"""What every test shares: the real galaxies, where they are, and quiet single-threaded libraries."""

import os
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
