"""Sensitivity: nothing at strength zero, growing from there, and the same for a galaxy whatever its company."""

import base64
from pathlib import Path

import numpy as np
import pytest

import tuningfork
from tuningfork.errors import BadCatalog, LabelError, RecipeError
from tuningfork.galaxy.cutout import Record
from tuningfork.galaxy.labels import LabelChoice, make_labels
from tuningfork.galaxy.store import StoreWriter
from tuningfork.insight.sensitivity import (
    PERTURBATIONS,
    normal,
    sensitivity,
    sensitivity_figure,
    share_right,
)
from tuningfork.model.card import Card

N = 90


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ninety pictures, half of them red and half blue, one that is no picture, and a run that tells the two apart."""
    folder = tmp_path_factory.mktemp("sensitivity")
    rng = np.random.default_rng(0)
    ids = [f"g{k:02d}" for k in range(N)]
    catalog = tuningfork.Catalog({"id": ids, "class": [("red", "blue")[k % 2] for k in range(N)]})
    with StoreWriter(folder / "store", catalog=catalog) as writer:
        for k, name in enumerate(ids):
            tint = np.array([40, 0, -40]) * (1 if k % 2 == 0 else -1)
            pixels = (rng.normal(110, 25, (32, 32, 1)) + tint).clip(0, 255).astype(np.uint8)
            record = Record.from_picture(name, pixels)
            writer.add(record if k != 7 else Record(name, b"no picture", "jpeg", record.bands))
    changes = {
        "model.backbone": "mobilenetv4_small", "display.size": 32,
        "train.epochs": 8, "train.batch": 8, "train.ema": 0.0,
        "split.method": "stratified", "split.test": 0.3, "train.rate": 3e-3,
    }  # fmt: skip
    tuningfork.train(folder / "store", folder / "run", labels="class", changes=changes)
    return folder


@pytest.mark.parametrize("kind", sorted(PERTURBATIONS))
def test_strength_zero_repeats_predict_exactly_and_more_moves_the_answers(sky: Path, kind: str, tmp_path: Path) -> None:
    tuningfork.predict(sky / "store", sky / "run", tmp_path / "v.parquet")
    votes = tuningfork.Votes.read(tmp_path / "v.parquet")
    found = sensitivity(sky / "store", sky / "run", kind)
    assert found.steps[0] == 0 and list(found.ids) == [one for one in votes.ids if one != "g07"]
    assert [one.id for one in found.rejected] == ["g07"]
    np.testing.assert_array_equal(found.answers[0], votes.values[votes.done])
    assert found.moved[0] == 0 and found.kept[0] == 1
    assert (found.moved[1:] > 0).all()
    if kind in ("colour", "brightness", "zoom", "blur", "noise"):  # a quarter turn is as good as an eighth
        assert found.moved[-1] > found.moved[1]
    np.testing.assert_allclose(found.answers.sum(axis=2), 1, atol=1e-5)


def test_a_galaxy_is_shifted_alike_in_any_order(sky: Path) -> None:
    store = tuningfork.open_source(sky / "store")
    ids = [one for one in store.ids if one != "g07"]
    there = sensitivity(store, sky / "run", steps=(1.0,), ids=ids)
    back = sensitivity(store, sky / "run", steps=(1.0,), ids=ids[::-1])
    assert back.ids == there.ids[::-1]
    np.testing.assert_allclose(back.answers[:, ::-1], there.answers, atol=1e-5)


def test_accuracy_falls_to_chance_when_the_light_is_put_out(sky: Path) -> None:
    store = tuningfork.open_source(sky / "store")
    labels = make_labels(store.catalog, LabelChoice())
    found = sensitivity(store, sky / "run", "brightness", steps=(0.0, -1.0))
    whole, dark = found.accuracy(labels, resamples=50)
    right = (found.answers[0].argmax(axis=1) == labels.select(found.ids).classes).mean()
    assert whole.value == pytest.approx(right) and whole.low <= whole.value <= whole.high
    assert whole.value > 0.9
    assert dark.value == pytest.approx(0.5, abs=0.02)  # all are black: one answer for all
    assert np.ptp(found.answers[1], axis=0).max() < 1e-5


def test_the_figure_tells_its_numbers(sky: Path) -> None:
    found = sensitivity(sky / "store", sky / "run", ids=["g00", "g01", "g02"])
    labels = make_labels(tuningfork.open_source(sky / "store").catalog, LabelChoice())
    points = found.accuracy(labels, resamples=20)
    picture = sensitivity_figure(found, {"accuracy": points}, "colour")
    assert points[-1].text() in picture.alt and "colour at strengths 0, 0.5, 1, 1.5, 2" in picture.alt
    drawn = base64.b64decode(picture.address.split(",", 1)[1]).decode()
    assert "principal axis" in drawn and "class as without it" in drawn
    assert PERTURBATIONS["band"].strengths(3) == (0, 1, 2, 3) and PERTURBATIONS["band"].line == {"linestyle": "none"}
    assert PERTURBATIONS["colour"].strengths(3) == found.steps and not PERTURBATIONS["colour"].line


def test_views_of_one_galaxy_are_resampled_together() -> None:
    rng = np.random.default_rng(0)
    galaxies = rng.random(60) < 0.7
    views = np.repeat(galaxies, 16)[None]
    alone = share_right(galaxies[None], [str(k) for k in range(60)], seed=3)[0]
    together = share_right(views, [str(k // 16) for k in range(960)], seed=3)[0]
    naive = share_right(views, [str(k) for k in range(960)], seed=3)[0]
    assert alone == together  # sixteen equal answers tell no more than one
    assert naive.value == alone.value and naive.high - naive.low < 0.4 * (alone.high - alone.low)


def test_normal_numbers_are_normal_and_not_those_of_the_split() -> None:
    ids = [f"g{k}" for k in range(4000)]
    drawn = normal(ids, "colour")
    assert abs(drawn.mean()) < 0.05 and abs(drawn.std() - 1) < 0.05
    np.testing.assert_array_equal(normal(ids[::-1], "colour"), drawn[::-1])
    assert abs(np.corrcoef(drawn, normal(ids, "noise"))[0, 1]) < 0.05
    from tuningfork.data.split import uniform

    assert abs(np.corrcoef(drawn, uniform(ids, 0))[0, 1]) < 0.05


def test_what_cannot_be_is_refused(sky: Path) -> None:
    with pytest.raises(RecipeError, match="colour"):
        sensitivity(sky / "store", sky / "run", "color")
    with pytest.raises(RecipeError, match="steps"):
        sensitivity(sky / "store", sky / "run", steps=())
    with pytest.raises(RecipeError, match="nan"):
        sensitivity(sky / "store", sky / "run", steps=(0.0, float("nan")))
    with pytest.raises(BadCatalog, match="g07"):
        sensitivity(sky / "store", sky / "run", ids=["g07"])
    found = sensitivity(sky / "store", sky / "run", ids=["g00", "g01"], steps=(0.0,))
    other = tuningfork.Catalog({"id": ["g00", "g01"], "class": ["red", "green"]})
    with pytest.raises(LabelError, match="green, red"):
        found.accuracy(make_labels(other, LabelChoice()))
    stranger = tuningfork.Catalog({"id": ["x", "y"], "class": ["red", "blue"]})
    with pytest.raises(LabelError, match="g00"):
        found.accuracy(make_labels(stranger, LabelChoice()))


class Brightness:
    """A net by hand: the mean of the middle half of the pixels, of all bands or one, and what is left to 1."""

    def __init__(self, band: slice = slice(None)) -> None:
        self.band = band

    def run(self, images: np.ndarray) -> np.ndarray:
        """Answers (N, 2)."""
        quarter = images.shape[-1] // 4
        mean = images[:, self.band, quarter:-quarter, quarter:-quarter].mean(axis=(1, 2, 3)) / 255
        return np.stack([mean, 1 - mean], axis=1).astype(np.float32)


@pytest.fixture
def by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of twelve pictures between 40 and 100, at the size that a net by hand sees them, and its card."""
    rng, bands = np.random.default_rng(1), ("red", "green", "blue")
    with StoreWriter(tmp_path / "store") as writer:
        for k in range(12):
            writer.add(Record.from_pixels(f"g{k}", rng.integers(40, 101, (3, 32, 32), dtype=np.uint8), bands))
    (tmp_path / "model").mkdir()
    card = Card("hand", bands, {"size": 32}, "classes", ("light", "dark"), "s1", mean=(0.0,) * 3, std=(1.0,) * 3)
    card.save(tmp_path / "model")
    monkeypatch.setattr("tuningfork.insight.sensitivity.open_engine", lambda *_: Brightness())
    return tmp_path


def test_the_curve_of_an_invariant_net_is_flat(by_hand: Path) -> None:
    quarters = sensitivity(by_hand / "store", by_hand / "model", "rotation", steps=(0, 90, 180, 270))
    np.testing.assert_allclose(quarters.answers, np.broadcast_to(quarters.answers[:1], quarters.answers.shape))
    assert quarters.moved.max() < 1e-6 and (quarters.kept == 1).all()
    eighth = sensitivity(by_hand / "store", by_hand / "model", "rotation", steps=(0, 45))
    assert eighth.moved[1] > 1e-4  # its square has corners: flat above is no accident


def test_the_curve_of_a_net_by_hand_is_exact(by_hand: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = sensitivity(by_hand / "store", by_hand / "model", "brightness", steps=(0, 0.5, 1))
    mean = found.answers[0, :, 0]
    for step, strength in zip(found.answers, found.steps, strict=True):
        np.testing.assert_allclose(step[:, 0], mean * (1 + strength), atol=2e-4)  # 768 roundings of half a level
    np.testing.assert_allclose(found.moved, [0, 0.5 * mean.mean(), mean.mean()], atol=2e-4)
    monkeypatch.setattr("tuningfork.insight.sensitivity.open_engine", lambda *_: Brightness(slice(1, 2)))
    bands = sensitivity(by_hand / "store", by_hand / "model", "band")
    assert bands.steps == (0, 1, 2, 3) and bands.moved[1] == bands.moved[3] == 0 < bands.moved[2]
    store = tuningfork.open_source(by_hand / "store")
    for row, one in enumerate(bands.ids):
        green = store.record(one).cutout().pixels[1]
        edge = np.ones((32, 32), bool)
        edge[2:-2, 2:-2] = False
        border = green[edge]
        assert bands.answers[2, row, 0] == pytest.approx(np.rint(np.median(border)) / 255)
