"""Sixteen views: the winner's own viewpoints, one part for all views of a galaxy, and the mean of what is said."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

import tuningfork
from tuningfork.errors import BadStore, BadVotes, Reason, RecipeError
from tuningfork.galaxy.cutout import COLOUR, Record, Rejected
from tuningfork.galaxy.store import Store, StoreWriter
from tuningfork.galaxy.votes import Votes, VotesWriter
from tuningfork.model.viewpoints import viewpoints
from tuningfork.workflow.experiments.sixteen import (
    Cut,
    average_views,
    cut_views,
    parent_of,
    sixteen,
    view_id,
)

SMALL = Cut(crop=20.0, of=40.0, size=24, side=16)


def picture(k: int, side: int = 40) -> np.ndarray:
    rng = np.random.default_rng(k)
    down, right = np.mgrid[:side, :side] / side - 0.5
    glow = 200 * np.exp(-((down - 0.1) ** 2 + 2 * right**2) / 0.05)
    return (glow[..., None] * rng.uniform(0.4, 1, 3) + rng.uniform(0, 30, (side, side, 3))).astype(np.uint8)


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Six galaxies, the fourth of which is no picture, with a column of their own."""
    catalog = tuningfork.Catalog({"id": [f"g{k}" for k in range(6)], "magnitude": np.arange(6.0)})
    with StoreWriter(tmp_path_factory.mktemp("sixteen") / "parents", catalog=catalog) as writer:
        for k in range(6):
            record = Record.from_pixels(f"g{k}", np.moveaxis(picture(k), -1, 0), COLOUR, 0.4, ra=10.0 + k, dec=1.0)
            writer.add(record if k != 3 else Record("g3", b"nothing", "npy", COLOUR))
    return writer.store


def parts(ids: list[str] | None = None) -> tuningfork.Catalog:
    ids = [f"g{k}" for k in range(6)] if ids is None else ids
    named = ["train", "train", "validation", "test", "test", "train"]
    return tuningfork.Catalog({"id": ids, "part": named[: len(ids)]})


def test_the_views_are_the_sixteen_viewpoints_of_the_winner() -> None:
    cut = Cut(size=69, side=45, colour=0.0)
    rng = np.random.default_rng(1)
    shown = rng.integers(0, 255, (3, 99, 99), dtype=np.uint8)
    ours = sixteen(shown, cut, np.ones(3), np.zeros(4))
    centre = torch.from_numpy(shown[:, 15:84, 15:84].copy()).float()[None]
    theirs = viewpoints(centre)[0].numpy()  # (16, 3, 45, 45)
    assert ours.shape == theirs.shape
    np.testing.assert_array_equal(ours[:8], theirs[:8])
    # turned by 45 degrees, ours sees the sky beyond the crop where theirs continues the edge; near the centre, the same
    np.testing.assert_allclose(ours[8:, :, 14:, 14:], theirs[8:, :, 14:, 14:], atol=0.51)


def test_the_centre_of_the_galaxy_is_at_the_lower_right_of_every_corner() -> None:
    cut = Cut(size=69, side=46, colour=0.0)
    shown = np.zeros((1, 99, 99), np.uint8)
    shown[0, 49, 49] = 255
    corners = sixteen(shown, cut, np.ones(1), np.zeros(4))
    assert {np.unravel_index(one[0].argmax(), (46, 46)) for one in corners} == {(34, 34)}


def test_every_view_has_its_galaxys_row_and_part_and_bad_ones_are_rejected_sixteen_times(
    parents: Store, tmp_path: Path
) -> None:
    views = cut_views(parents, tmp_path / "views", parts(), SMALL)
    assert len(views) == 5 * 16 and views.n_rejected == 16
    assert {parent_of(one.id) for one in views.rejected} == {"g3"}
    catalog = views.catalog
    assert catalog.ids[:16] == [f"g0#{k:02d}" for k in range(16)]
    by_parent: dict[str, set[tuple[str, float]]] = {}
    for one, parent, part, magnitude in zip(
        catalog.ids, catalog["parent"], catalog["part"], catalog["magnitude"], strict=True
    ):
        assert parent_of(one) == parent
        by_parent.setdefault(parent, set()).add((part, magnitude))
    assert by_parent == {
        "g0": {("train", 0.0)}, "g1": {("train", 1.0)}, "g2": {("validation", 2.0)}, "g4": {("test", 4.0)},
        "g5": {("train", 5.0)},
    }  # fmt: skip
    record = views.record("g4#07")
    assert record.cutout().pixels.shape == (3, 16, 16) and record.bands == COLOUR
    assert record.ra == 14.0 and record.pixel_scale == pytest.approx(0.4 * 20 / 24)


def test_mirrored_and_turned_views_hold_the_same_pixels_and_colours_shift_by_picture(
    parents: Store, tmp_path: Path
) -> None:
    plain = cut_views(parents, tmp_path / "plain", parts(["g0"]), Cut(20.0, 40.0, 24, 24, colour=0.0))

    def pixels(store: Store, number: int) -> np.ndarray:
        return store.record(view_id("g0", number)).cutout().pixels

    for k in range(4):  # a corner as large as the picture is the picture, turned
        np.testing.assert_array_equal(np.rot90(pixels(plain, 0), k, (1, 2)), pixels(plain, k))
        np.testing.assert_array_equal(np.rot90(pixels(plain, 0)[..., ::-1], k, (1, 2)), pixels(plain, 4 + k))
    tinted = cut_views(parents, tmp_path / "tinted", parts(["g0"]), Cut(20.0, 40.0, 24, 24, colour=0.5))
    moved = [(pixels(tinted, n).astype(float) - pixels(plain, n)) for n in range(16)]
    for v in range(4):
        for k in range(1, 4):
            np.testing.assert_array_equal(np.rot90(moved[4 * v], k, (1, 2)), moved[4 * v + k])
    shifts = {float(np.median(one[0])) for one in moved[::4]}
    assert len(shifts) == 4  # its own for each picture


def test_a_killed_cut_goes_on_and_another_is_refused(
    parents: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    class Dying(StoreWriter):
        last = 10**9

        def add(self, record: Record) -> None:
            if self.n_done == self.last:
                raise Killed
            super().add(record)

    shards = functools.partial(Dying, shard_size=20)  # which end in the middle of a galaxy
    monkeypatch.setattr("tuningfork.workflow.experiments.sixteen.StoreWriter", shards)
    whole = cut_views(parents, tmp_path / "whole", parts(), SMALL)
    for last in (30, 50, 70):
        monkeypatch.setattr(Dying, "last", last)
        with pytest.raises(Killed):
            cut_views(parents, tmp_path / "killed", parts(), SMALL)
        assert len(list((tmp_path / "killed").glob("shard-*.parquet"))) == last // 20
    monkeypatch.setattr(Dying, "last", 10**9)
    again = cut_views(parents, tmp_path / "killed", parts(), SMALL)
    assert again.digest == whole.digest
    assert cut_views(parents, tmp_path / "killed", parts(), SMALL).digest == whole.digest
    with pytest.raises(BadStore, match="colour"):
        cut_views(parents, tmp_path / "killed", parts(), Cut(20.0, 40.0, 24, 16, colour=0.1))


def test_the_mean_of_the_views_and_what_becomes_of_rejected_ones(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = [view_id(one, k) for one in ("a", "b", "c") for k in range(16)]
    values = rng.dirichlet((1, 1), 48).astype(np.float32)
    lost = {"a#03", *(view_id("b", k) for k in range(16))}
    rejected = [Rejected(one, Reason.TOO_SMALL, "") for one in ids if one in lost]
    kept = np.array([one not in lost for one in ids])
    with VotesWriter(tmp_path / "v.parquet", "classes", ("x", "y"), None, {"model": {"name": "m"}}) as writer:
        writer.write(ids, np.repeat([1.0, 2.0, 3.0], 16), np.zeros(48), values[kept], rejected)
    mean = average_views(Votes.read(tmp_path / "v.parquet"), tmp_path / "mean.parquet")
    assert mean.ids == ["a", "b", "c"] and mean.done.tolist() == [True, False, True]
    np.testing.assert_allclose(mean.values[0], values[:16][kept[:16]].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(mean.values[2], values[32:].mean(axis=0), atol=1e-6)
    assert mean.reasons() == {str(Reason.TOO_SMALL): 1}
    assert mean.metadata["model"] == {"name": "m"} and mean.ra.tolist() == [1.0, 2.0, 3.0]


def test_what_cannot_be_is_refused(parents: Store, tmp_path: Path) -> None:
    for wrong, says in (
        (Cut(crop=500.0), "cut.crop is 500"),
        (Cut(side=70), "cut.side is 70"),
        (Cut(colour=-1.0), "cut.colour is -1"),
    ):
        with pytest.raises(RecipeError, match=says):
            cut_views(parents, tmp_path / "x", parts(), wrong)
    with pytest.raises(BadStore, match="no column 'part'"):
        cut_views(parents, tmp_path / "x", tuningfork.Catalog({"id": ["g0"]}), SMALL)
    with pytest.raises(BadStore, match="'tset'"):
        cut_views(parents, tmp_path / "x", tuningfork.Catalog({"id": ["g0"], "part": ["tset"]}), SMALL)
    with pytest.raises(BadVotes, match="no view of a galaxy"):
        parent_of("g0")
    with pytest.raises(BadVotes):
        parent_of("g0#16")
    assert parent_of("a#b#15") == "a#b"
