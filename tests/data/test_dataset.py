"""Caches of rendered galaxies: in order, accounted for, the same in memory and in a file, with true moments."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tuningfork.data.dataset import Cache, render_all
from tuningfork.errors import DiskFull, TrainingError
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.display import Display, render_record
from tuningfork.galaxy.records import Source

DISPLAY = Display(size=12, bands=("red", "green", "blue"))


class Sky(Source):
    """Random pictures in memory; every fifth is broken if ``faults``."""

    def __init__(self, n: int, faults: bool = False) -> None:
        super().__init__("sky", [f"g{i}" for i in range(n)], digest="sky")
        self.faults = faults

    def _read(self, row: int) -> Record:
        pixels = np.random.default_rng(row).integers(0, 256, (3, 24, 24), dtype=np.uint8)
        record = Record.from_pixels(self.ids[row], pixels, ("red", "green", "blue"))
        return replace(record, data=b"broken") if self.faults and row % 5 == 0 else record

    def _where(self, row: int) -> str:
        return "sky"


def render(sky: Source, ids: Sequence[str], folder: Path, margin: int = 0, limit: float = 1e9) -> Cache:
    return render_all(sky, ids, DISPLAY, margin, scratch=folder / "cache.npy", memory_limit=limit, threads=3)


def test_rows_are_what_predict_would_see_in_the_order_asked_for(tmp_path: Path) -> None:
    sky = Sky(700)  # more than are held undecoded at a time
    wanted = [sky.ids[i] for i in np.random.default_rng(0).permutation(700)]
    cache = render(sky, wanted, tmp_path)
    assert list(cache.ids) == wanted and not cache.rejected
    for row in (0, 1, 255, 256, 699):
        assert np.array_equal(cache.pixels[row], render_record(sky.record(wanted[row]), DISPLAY))


def test_what_cannot_be_used_is_listed_and_leaves_no_row(tmp_path: Path) -> None:
    sky = Sky(30, faults=True)
    cache = render(sky, [*sky.ids, "stranger"], tmp_path)
    assert len(cache) == len(cache.pixels) == 24
    assert [r.id for r in cache.rejected] == ["g0", "g5", "g10", "g15", "g20", "g25", "stranger"]
    assert {str(r.reason) for r in cache.rejected[:-1]} == {"not_an_image"}
    assert str(cache.rejected[-1].reason) == "missing"
    assert np.array_equal(cache.pixels[3], render_record(sky.record("g4"), DISPLAY))


def test_a_file_holds_the_same_as_memory_and_goes_away(tmp_path: Path) -> None:
    sky = Sky(30, faults=True)
    memory, file = render(sky, sky.ids, tmp_path, margin=2), render(sky, sky.ids, tmp_path, margin=2, limit=0)
    assert memory.file is None and file.file == tmp_path / "cache.npy" and file.file.exists()
    assert np.array_equal(memory.pixels, file.pixels) and memory.ids == file.ids
    assert file.pixels.shape == (24, 3, 16, 16)
    assert torch.equal(file.batch([5, 2]), torch.from_numpy(memory.pixels[[5, 2]]))
    file.close()
    memory.close()
    assert not list(tmp_path.iterdir())


def test_moments_are_those_of_the_centre(tmp_path: Path) -> None:
    sky = Sky(40)
    cache = render(sky, sky.ids, tmp_path, margin=4)
    centre = cache.pixels[:, :, 4:-4, 4:-4].astype(np.float64) / 255
    mean, std = cache.moments(12)
    assert mean == pytest.approx(centre.mean(axis=(0, 2, 3)), abs=1e-6)  # rounded to seven places
    assert std == pytest.approx(centre.std(axis=(0, 2, 3)), abs=1e-6)
    flat = Cache(("a",), np.full((1, 2, 12, 12), 51, dtype=np.uint8))
    assert flat.moments(12) == ((0.2, 0.2), (1.0, 1.0))


def test_nothing_usable_is_an_error_that_says_why(tmp_path: Path) -> None:
    sky = Sky(30, faults=True)
    with pytest.raises(TrainingError, match="none of 2 galaxies can be used, first 'g0': not_an_image"):
        render(sky, ["g0", "g5"], tmp_path)


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DiskFull, match=r"cache.npy.*memory_gb"):
        render(Sky(5), Sky(5).ids, tmp_path, limit=0)
    assert not list(tmp_path.iterdir())


def test_progress_counts_up_to_all(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    sky = Sky(300)
    render_all(sky, sky.ids, DISPLAY, scratch=tmp_path / "c.npy", progress=lambda n, of, text: seen.append((n, of)))
    assert seen == [(256, 300), (300, 300)]
