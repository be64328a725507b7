"""Few labels: the galaxies that judge are the reference models' own, rivals learn the same draws, bands are told."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tuningfork.errors import RecipeError, TrainingError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.display import Display
from tuningfork.model.backbone import make_backbone
from tuningfork.model.card import Card
from tuningfork.simulate.galaxies import simulate_galaxies
from tuningfork.train import finish, loop
from tuningfork.workflow import fewlabels, samples
from tuningfork.workflow.fewlabels import QUESTIONS, Pool, Question, Trained, auc, coarse_pixels, curve, probe, split_of

N = 60
SHOWN = Display(size=32, bands=("red", "green", "blue"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Galaxy Zoo 1's layout with simulated galaxies in place of real ones; those on the edge are the mergers."""
    folder = tmp_path_factory.mktemp("data")
    kinds = {"elliptical": 1.0, "edge_on": 1.0}
    sky = simulate_galaxies(N, folder / "sky", size=32, seed=3, workers=1, class_weights=kinds)
    assert sky.catalog is not None
    (folder / "gz1" / "images").mkdir(parents=True)
    for one in sky.ids:
        (folder / "gz1" / "images" / f"{one}.jpg").write_bytes(sky.record(one).data)
    words = ["merger" if one == "edge_on" else "elliptical" for one in sky.catalog["class"].tolist()]
    words[:4] = ["dont_know"] * 4
    Catalog({"objid": list(sky.ids), "class": words}, "objid").write(folder / "gz1" / "labels.csv")
    return folder


@pytest.fixture(scope="module")
def pool(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return fewlabels.open_pool(QUESTIONS["merger"], data, tmp_path_factory.mktemp("stores"))


def made(n: int = 400, d: int = 30) -> tuple[Pool, np.ndarray]:
    """A pool without pictures, half of which judges, and rows whose first three columns tell the answer."""
    generator = np.random.default_rng(0)
    yes = generator.random(n) < 0.3
    x = generator.normal(0, 1, (n, d)) + 1.5 * yes[:, None] * (np.arange(d) < 3)
    judge = np.arange(n) % 2 == 0
    return Pool(None, tuple(f"g{k}" for k in range(n)), yes, judge), x.astype(np.float32)  # type: ignore[arg-type]


def test_the_galaxies_that_judge_are_those_of_the_reference_models(pool: Pool) -> None:
    share = samples.SAMPLES["gz1"].test
    parts = samples._parts("gz1", pool.source, share, 0.1)
    assert [parts[f"gz1:{one}"] == "test" for one in pool.ids] == pool.judge.tolist()
    assert 0 < pool.judge.sum() < len(pool.ids) == N - 4  # "dont_know" is left out
    assert pool.source.catalog is not None
    kinds = dict(zip(pool.source.catalog.ids, pool.source.catalog["class"].tolist(), strict=True))
    assert [kinds[one] == "merger" for one in pool.ids] == pool.yes.tolist()


def test_bars_are_read_from_their_lengths() -> None:
    catalog = Catalog({"id": list("abcd"), "Bar_Length": [0.0, 0.25, 0.5, -1.0]})
    np.testing.assert_array_equal(QUESTIONS["bar"].answer(catalog), [0.0, np.nan, 1.0, np.nan])


@pytest.mark.parametrize("balanced", [True, False])
def test_a_draw_holds_no_galaxy_that_judges_and_each_once(balanced: bool) -> None:
    pool, _ = made()
    share = pool.yes[~pool.judge].mean()
    for size in (10, 50, 0, 10**6):
        rows = pool.draw(size, balanced, np.random.default_rng(1))
        assert len(set(rows.tolist())) == len(rows) == (size if 0 < size < 200 else 200)
        assert not pool.judge[rows].any()
        if size in (10, 50):
            assert pool.yes[rows].sum() == (size / 2 if balanced else round(size * share))
    one, other = (pool.draw(50, balanced, np.random.default_rng(seed)) for seed in (1, 2))
    assert set(one.tolist()) != set(other.tolist())
    with pytest.raises(RecipeError, match=r"\[75, 75\] galaxies of yes and no are to be drawn"):
        pool.draw(150, True, np.random.default_rng(0))


def test_a_probe_is_the_logistic_regression_on_standardised_rows_whose_c_it_chose() -> None:
    pool, x = made()
    for n in (20, 100):  # fewer rows than columns, and more
        found = probe(x[:n], pool.yes[:n])(x)
        apart = []
        for strength in fewlabels.STRENGTHS:
            model = LogisticRegression(C=strength, class_weight="balanced", max_iter=2000, tol=1e-6)
            direct = make_pipeline(StandardScaler(), model).fit(x[:n], pool.yes[:n])
            apart.append(np.abs(direct.decision_function(x) - found).max() / np.abs(found).max())
        assert min(apart) < 0.01  # of the log-odds: lbfgs stops at a gradient of 1e-4
        assert sorted(apart)[1] > 0.05


def test_a_probe_on_components_knows_the_fitted_rows_alone() -> None:
    pool, x = made()
    found = probe(x[:60], pool.yes[:60], 5)(x)
    turned = PCA(5, whiten=True, svd_solver="full").fit(x[:60].astype(np.float64)).transform(x.astype(np.float64))
    straight = np.linalg.lstsq(np.c_[turned, np.ones(len(x))], found, rcond=None)[0]
    np.testing.assert_allclose(np.c_[turned, np.ones(len(x))] @ straight, found, atol=1e-8)  # linear in them
    assert np.isfinite(probe(x[:4], np.arange(4) > 1, 50)(x)).all()  # four rows have three components


def test_more_labels_judge_better_and_the_band_is_of_the_draws() -> None:
    pool, x = made()
    question = Question("?", "gz1", QUESTIONS["merger"].answer, (10, 60, 0, 500), balanced=False)
    points = curve(pool, question, fewlabels.probed(pool, x), lambda size: 12 if size == 10 else 3)
    assert [(one.n, len(one.aucs)) for one in points] == [(10, 12), (60, 3), (200, 1)]
    assert points[0].mean < points[1].mean < points[2].mean and points[2].mean > 0.9
    for one in points:
        assert one.mean == pytest.approx(np.mean(one.aucs))
    assert (points[0].low, points[0].high) == pytest.approx(np.quantile(points[0].aucs, (0.1, 0.9)))
    assert (points[1].low, points[1].high) == (min(points[1].aucs), max(points[1].aucs))
    noise = np.random.default_rng(5).normal(0, 1, x.shape).astype(np.float32)
    (by_chance,) = curve(pool, question, fewlabels.probed(pool, noise), lambda size: 12, [60])
    assert abs(by_chance.mean - 0.5) < 0.06  # 60 yes, 140 no: one AUC by chance is off by 0.045


def test_rivals_learn_the_same_draws() -> None:
    pool, _ = made()
    seen: list[list[list[int]]] = []
    for _ in range(2):
        asked: list[list[int]] = []
        curve(
            pool, QUESTIONS["bar"], lambda rows, number, to=asked: to.append(rows.tolist()) or 0.5, lambda size: 2, [30]
        )
        seen.append(asked)
    assert seen[0] == seen[1] and seen[0][0] != seen[0][1]


def test_an_area_under_the_curve_is_of_the_galaxies_that_judge() -> None:
    pool, _ = made()
    assert auc(pool, pool.yes[pool.judge].astype(float)) == 1.0
    assert auc(pool, -pool.yes[pool.judge].astype(float)) == 0.0


def test_coarse_pixels_are_means_of_squares() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), np.uint8)
    rows = coarse_pixels(4)(images).reshape(2, 3, 4, 4)
    assert rows[1, 2, 3, 0] == pytest.approx(images[1, 2, 6:8, 0:2].mean() / 255)
    with pytest.raises(RecipeError, match="8 px cannot be cut into 3 x 3"):
        coarse_pixels(3)(images)


def test_galaxies_are_encoded_once(pool: Pool, tmp_path: Path) -> None:
    calls = []

    def encode(images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        return images.mean((2, 3)).astype(np.float32)

    cache = tmp_path / "deep" / "x.parquet"
    first, x = fewlabels.encode_all(pool, SHOWN, {"mean": encode}, cache, "weights 1")
    again, y = fewlabels.encode_all(pool, SHOWN, {"mean": encode}, cache, "weights 1")
    assert sum(calls) == len(pool.ids) == len(x["mean"]) and first.ids == again.ids == pool.ids
    np.testing.assert_array_equal(x["mean"], y["mean"])
    fewlabels.encode_all(pool, SHOWN, {"mean": encode}, cache, "weights 2")
    assert sum(calls) == 2 * len(pool.ids)  # other weights: encoded anew


def test_a_fifth_of_either_answer_chooses_the_best_epoch() -> None:
    pool, _ = made()
    rows = pool.draw(50, True, np.random.default_rng(0))
    labels = split_of(pool, rows)
    parts, words = (np.asarray(labels[name]).astype(str) for name in ("part", "class"))
    assert [int(((parts == "validation") & (words == word)).sum()) for word in ("yes", "no")] == [5, 5]
    assert list(labels.ids) == [pool.ids[row] for row in rows]
    few = split_of(pool, pool.draw(4, True, np.random.default_rng(0)))
    assert sorted(np.asarray(few["part"]).astype(str)) == ["train"] * 2 + ["validation"] * 2


def test_networks_learn_a_draw_from_random_weights_and_from_a_model(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finish.export, "export_onnx", lambda folder: None)
    rows = pool.draw(20, True, np.random.default_rng(0))
    scratch = Trained(pool, tmp_path / "scratch", SHOWN, size=16, steps=40, batch=8)
    value = scratch(rows, 0)
    assert value > 0.8  # edge-on against elliptical is easy
    assert scratch(rows, 0) == value  # taken from where it lies
    model = tmp_path / "scratch" / "20-0" / "model"
    card = Card.load(model)
    assert card.names == ("no", "yes") and card.training["galaxies"] == {"train": 16, "validation": 4, "test": 0}
    monkeypatch.setattr(loop, "fit", partial(loop.fit, stop_after_steps=1))
    with pytest.raises(TrainingError, match="give the same command again"):
        scratch(rows, 1)
    monkeypatch.undo()
    monkeypatch.setattr(finish.export, "export_onnx", lambda folder: None)
    tuned = Trained(pool, tmp_path / "from", replace(SHOWN, size=16), start=str(model), steps=10, batch=8)
    assert tuned(rows, 0) > 0.8
    told = Card.load(tmp_path / "from" / "20-0" / "model").training["recipe"]
    assert told["start"] == str(model) and told["train"]["layer_decay"] < 1


def test_the_encoder_before_galaxies_is_the_backbone_on_pixels_scaled_as_the_card_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = make_backbone("resnet18", 3, 32).eval()
    safetensors.torch.save_file(backbone.state_dict(), tmp_path / "w.safetensors")
    shown = {"size": 32}
    means, stds = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    card = Card("x", ("r", "g", "b"), shown, "classes", ("no", "yes"), "resnet18", mean=means, std=stds)
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), np.uint8)
    found = fewlabels.imagenet_encoder(card, tmp_path / "w.safetensors")(images)
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (means, stds))
    with torch.inference_mode():
        wanted = backbone((torch.from_numpy(images).float() / 255 - mean) / std).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)  # another memory layout, another order of sums
