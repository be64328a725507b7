"""fit from end to end on a tiny sky: it learns, accounts for every galaxy, resumes bit for bit, and refuses by name."""

import csv
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn

from tuningfork import disk
from tuningfork import recipe as recipes
from tuningfork.errors import LabelError, Locked, RecipeError, SplitError, TrainingError
from tuningfork.galaxy.catalog import Catalog
from tuningfork.galaxy.display import Display, render_record
from tuningfork.galaxy.tree import Tree
from tuningfork.model import backbone, weights
from tuningfork.train import finish, loop, run
from tuningfork.train.choices import Train, TrainRecipe
from tuningfork.train.loop import fit, learning_rate

ALL_CHANCES = {
    "augment.blur": 1.0, "augment.colour": 0.1, "augment.noise": 0.05, "augment.crop": 0.1, "augment.transpose": True,
    "augment.flip_chance": 0.25, "train.balance": "sqrt", "train.accumulate": 2, "train.label_smoothing": 0.1,
    "train.class_weights": "balanced", "train.batch": 4, "model.dropout": 0.3,
}  # fmt: skip


@pytest.fixture(autouse=True)
def without_export(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Exporting takes longer than all the rest and is tested in its own room, and once here."""
    if "real_export" not in request.fixturenames:
        monkeypatch.setattr(finish.export, "export_onnx", lambda folder: None)


@pytest.fixture
def real_export() -> None:
    """Asks for the export."""


@pytest.fixture
def norms(monkeypatch: pytest.MonkeyPatch) -> str:
    """A small backbone with batch norms, whose statistics are part of the state."""

    def build(n_bands: int, size: int) -> nn.Module:
        net = nn.Sequential(
            nn.Conv2d(n_bands, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        net.n_features = 8
        return net

    monkeypatch.setitem(backbone.BACKBONES, "norms", backbone.Backbone(build, True, "for tests"))
    return "norms"


def without_seconds(out: Path) -> list[dict[str, str]]:
    with open(out / "log.csv") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def test_a_run_learns_and_its_folder_tells_everything(tiny: ModuleType, tmp_path: Path, real_export: None) -> None:
    sky, lines = tiny.make_sky(90, broken=[f"g{i}" for i in range(0, 12)]), []
    recipe = tiny.make_recipe({"train.epochs": 6})
    summary = fit(sky, tmp_path, recipe, progress=lambda done, of, text: lines.append((done, of, text)))
    assert summary.best["accuracy"] > 0.9
    assert recipes.load(TrainRecipe, tmp_path / "recipe.toml") == recipe
    split, rejected = (pq.read_table(tmp_path / f"{name}.parquet").to_pydict() for name in ("split", "rejected"))
    assert sorted(split["id"]) == sorted(sky.ids)
    parts = dict(zip(split["id"], split["part"], strict=True))
    opened = {i for i in sky.broken if parts[i] != "test"}  # training never looks at the test part
    assert set(rejected["id"]) == opened and set(rejected["reason"]) == {"not_an_image"} and len(opened) > 3
    assert rejected["part"] == [parts[i] for i in rejected["id"]]
    assert (summary.n_in, summary.n_done, summary.n_rejected) == (90, 90 - len(opened), len(opened))
    assert summary.parts == {"train": 54, "validation": 18, "test": 18}
    rows = without_seconds(tmp_path)
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert list((tmp_path / "tensorboard").glob("events*"))
    net, card = weights.load(tmp_path / "model")
    assert (tmp_path / "model" / "model.onnx").is_file() and card.onnx_digest
    assert set(card.names) == set(tiny.KINDS) and card.bands == ("red", "green", "blue")
    assert len(card.history) == 6 and card.temperature == summary.temperature != 1.0
    assert card.training["galaxies"] == summary.parts and sum(card.training["rejected"].values()) == len(opened)
    assert not list(tmp_path.glob("cache-*")) and not list(tmp_path.rglob(".part-*"))
    assert lines[-1][0] == lines[-1][1] and "epoch 6/6 loss" in lines[-1][2] and "val accuracy" in lines[-1][2]
    test = [i for i, part in parts.items() if part == "test" and i not in sky.broken]
    pictures = np.stack([render_record(sky.record(i), Display(**{**card.display, "bands": card.bands, "limits": ()}))
                         for i in test])  # fmt: skip
    guess = [card.names[k] for k in weights.answer(net, pictures).argmax(axis=1)]
    truth = [tiny.KINDS[sky.kinds[sky.ids.index(i)]] for i in test]
    assert np.mean([a == b for a, b in zip(guess, truth, strict=True)]) > 0.85  # on galaxies it never saw


def test_a_finished_run_is_not_trained_again(tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny.make_recipe({"train.epochs": 1})
    first = fit(tiny.make_sky(), tmp_path, recipe)
    monkeypatch.setattr(loop, "_step", None)
    assert fit(tiny.make_sky(), tmp_path, recipe) == first
    with pytest.raises(RecipeError, match=r"train.epochs: 1 there, 2 now"):
        fit(tiny.make_sky(), tmp_path, tiny.make_recipe({"train.epochs": 2}))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_stopped_at_any_step_it_ends_with_the_same_bits(
    tiny: ModuleType, tmp_path: Path, norms: str, optimizer: str
) -> None:
    recipe = tiny.make_recipe({**ALL_CHANCES, "model.backbone": norms, "train.optimizer": optimizer})
    whole = fit(tiny.make_sky(), tmp_path / "whole", recipe)
    steps = whole.best["step"] // whole.best["epoch"] * 3
    assert steps == 15
    for stop in (1, 4, 5, 7, 14, 15):  # in an epoch, at its end, and at the very end
        out = tmp_path / f"stopped{stop}"
        part = fit(tiny.make_sky(), out, recipe, stop_after_steps=stop)
        assert part.stopped and not (out / "model").exists()
        torch.manual_seed(stop)  # whatever happened in between
        fit(tiny.make_sky(), out, recipe)
        assert tiny.weights(out) == tiny.weights(tmp_path / "whole")
        assert without_seconds(out) == without_seconds(tmp_path / "whole")
    other = tiny.make_recipe({**ALL_CHANCES, "model.backbone": norms, "train.optimizer": optimizer, "train.seed": 1})
    fit(tiny.make_sky(), tmp_path / "other", other)
    assert tiny.weights(tmp_path / "other") != tiny.weights(tmp_path / "whole")


def test_sigterm_finishes_the_step_and_stores_the_state(tiny: ModuleType, tmp_path: Path) -> None:
    recipe, before = tiny.make_recipe(), signal.getsignal(signal.SIGTERM)

    def kill(done: int, of: int, text: str) -> None:
        if text.startswith("epoch") and done == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    summary = fit(tiny.make_sky(), tmp_path / "run", recipe, progress=kill)
    assert summary.stopped and disk.read_json(tmp_path / "run/state/latest.json")["name"].endswith("04")
    assert signal.getsignal(signal.SIGTERM) is before
    assert "goes on" in summary.text()
    fit(tiny.make_sky(), tmp_path / "run", recipe)
    fit(tiny.make_sky(), tmp_path / "whole", recipe)
    assert tiny.weights(tmp_path / "run") == tiny.weights(tmp_path / "whole")


def test_other_choices_or_galaxies_cannot_go_on_but_other_storage_can(tiny: ModuleType, tmp_path: Path) -> None:
    fit(tiny.make_sky(), tmp_path, tiny.make_recipe(), stop_after_steps=2)
    with pytest.raises(RecipeError, match=r"recipe.train.rate: 0.001 there, 0.002 now"):
        fit(tiny.make_sky(), tmp_path, tiny.make_recipe({"train.rate": 2e-3}))
    with pytest.raises(RecipeError, match="galaxies"):
        fit(tiny.make_sky(61), tmp_path, tiny.make_recipe())
    names = [tiny.KINDS[i % 3] for i in range(60)]
    names[0] = "long"
    relabelled = Catalog({"id": [f"g{i}" for i in range(60)], "class": names})
    with pytest.raises(RecipeError, match="galaxies"):
        fit(tiny.make_sky(), tmp_path, tiny.make_recipe(), labels=relabelled)
    stored = tiny.make_recipe({"train.save_steps": 1, "train.memory_gb": 1e-6})
    assert not fit(tiny.make_sky(), tmp_path, stored).stopped


def test_pictures_in_a_file_teach_the_same_as_in_memory(tiny: ModuleType, tmp_path: Path) -> None:
    fit(tiny.make_sky(broken=["g4"]), tmp_path / "memory", tiny.make_recipe({"train.epochs": 1}))
    fit(tiny.make_sky(broken=["g4"]), tmp_path / "file", tiny.make_recipe({"train.epochs": 1, "train.memory_gb": 1e-6}))
    assert tiny.weights(tmp_path / "memory") == tiny.weights(tmp_path / "file")
    assert not list((tmp_path / "file").glob("cache-*"))


def poison(monkeypatch: pytest.MonkeyPatch, bad: Callable[[int, Tensor], Tensor]) -> None:
    """Make the training loss NaN for the galaxies that ``bad(call, targets)`` picks."""
    make, calls = run.make_objective, [0]

    def poisoned(*given: Any) -> Any:
        objective = make(*given)

        def loss(z: Tensor, targets: Tensor) -> Tensor:
            calls[0] += 1
            return torch.where(bad(calls[0], targets), torch.nan, objective.loss(z, targets))

        return replace(objective, loss=loss)

    monkeypatch.setattr(run, "make_objective", poisoned)


def test_a_poisoned_step_is_left_out_counted_and_named(
    tiny: ModuleType, tmp_path: Path, norms: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = torch.zeros(8, dtype=torch.bool)
    first[0] = True
    poison(monkeypatch, lambda call, targets: first[: len(targets)] & (call == 2))
    summary = fit(tiny.make_sky(), tmp_path, tiny.make_recipe({"model.backbone": norms}))
    [skipped] = json.loads((tmp_path / "skipped.json").read_text())
    assert skipped["step"] == 2 and len(skipped["ids"]) == 1 and skipped["of_these"]
    assert summary.skipped_steps == 1 and without_seconds(tmp_path)[0]["skipped"] == "1"
    assert np.isfinite(summary.best["validation_loss"])


def test_three_poisoned_steps_in_a_row_end_the_run_and_name_the_galaxies(
    tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch, lambda call, targets: targets[:, 1] > 0.5)
    sky = tiny.make_sky()
    with pytest.raises(TrainingError, match="3 steps in a row") as error:
        fit(sky, tmp_path, tiny.make_recipe())
    names = sorted(set(sky.catalog["class"].tolist()))
    named = [i for i in sky.ids if f"'{i}'" in str(error.value)]
    kinds = {sky.catalog["class"][sky.ids.index(i)] for i in named}
    assert named and len(kinds) == 1 and kinds <= set(names)


def test_votes_are_learnt_as_counts_and_as_fractions(tiny: ModuleType, tmp_path: Path) -> None:
    tree, sky = Tree.load("gz1"), tiny.make_sky()
    generator = np.random.default_rng(0)
    shares = np.full((60, tree.n_answers), 0.02)
    shares[np.arange(60), np.arange(60) % 3] += 1 - shares.sum(axis=1)
    counts = np.stack([generator.multinomial(20, s) for s in shares])
    catalog = Catalog({"id": sky.ids, **{f"{c}_count": counts[:, k] for k, c in enumerate(tree.columns)}})
    changes = {"labels.tree": "gz1", "train.epochs": 5}  # mirrored views have mirrored votes
    for kind, head in (("counts", "dirichlet"), ("fractions", "fractions")):
        recipe = tiny.make_recipe({**changes, "labels.kind": kind, "labels.votes": "counts"})
        summary = fit(sky, tmp_path / kind, recipe, labels=catalog)
        _, card = weights.load(tmp_path / kind / "model")
        assert card.head == head and card.names == tree.columns and card.tree == "gz1"
        assert summary.best["rmse"] < 0.3 and summary.best["rmse"] <= card.history[0]["rmse"]


def test_labels_join_by_id_and_what_does_not_join_is_told(tiny: ModuleType, tmp_path: Path) -> None:
    ids = [f"g{i}" for i in range(10, 80)]  # ten pictures without a label, twenty labels without a picture
    catalog = Catalog({"id": ids, "class": [tiny.KINDS[int(i[1:]) % 3] for i in ids]})
    summary = fit(tiny.make_sky(), tmp_path, tiny.make_recipe({"train.epochs": 1}), labels=catalog)
    assert summary.n_in == 50
    text = summary.text()
    assert "10 galaxies of 'sky' have no label" in text and "20 labels have no picture" in text


def test_a_class_with_too_few_galaxies_stays_in_training(tiny: ModuleType, tmp_path: Path) -> None:
    kinds = [i % 2 for i in range(58)] + [2, 2]
    summary = fit(tiny.make_sky(kinds=kinds), tmp_path, tiny.make_recipe({"train.epochs": 1}))
    parts = pq.read_table(tmp_path / "split.parquet").to_pydict()
    assert [parts["part"][parts["id"].index(i)] for i in ("g58", "g59")] == ["train", "train"]
    assert np.isfinite(summary.best["balanced_accuracy"])


def test_what_cannot_be_trained_is_refused(tiny: ModuleType, tmp_path: Path) -> None:
    other = Catalog({"id": ["x1", "x2"], "class": ["a", "b"]})
    cases: list[tuple[type[Exception], str, Any, dict[str, Any], Any]] = [
        (LabelError, "none of 2 labelled ids", tiny.make_sky(), {}, other),
        (LabelError, "of one class", tiny.make_sky(kinds=[0] * 30), {}, None),
        (SplitError, "validation part", tiny.make_sky(4), {"split.method": "hash", "split.validation": 1e-6}, None),
        (RecipeError, "split.validation", tiny.make_sky(), {"split.validation": 0.0}, None),
        (RecipeError, "resnet18", tiny.make_sky(), {"model.backbone": "resnet1"}, None),
        (RecipeError, "'adamw'", tiny.make_sky(), {"train.optimizer": "adam"}, None),
        (RecipeError, "cross_entropy", tiny.make_sky(), {"train.loss": "dirichlet"}, None),
        (RecipeError, "model.head", tiny.make_sky(), {"model.head": "dirichlet"}, None),
        (TrainingError, "none of", tiny.make_sky(12, broken=[f"g{i}" for i in range(12)]), {}, None),
    ]
    for number, (kind, match, sky, changes, catalog) in enumerate(cases):
        with pytest.raises(kind, match=match):
            fit(sky, tmp_path / str(number), tiny.make_recipe(changes), labels=catalog)


def test_one_galaxy_under_two_ids_is_found_by_the_positions_of_either_catalogue(
    tiny: ModuleType, tmp_path: Path
) -> None:
    sky, recipe = tiny.make_sky(), tiny.make_recipe({"train.epochs": 1})
    fit(sky, tmp_path / "first", recipe)
    parts = pq.read_table(tmp_path / "first" / "split.parquet").to_pydict()["part"]
    ra, dec = np.linspace(0, 300, 60), np.zeros(60)
    ra[parts.index("test")] = ra[parts.index("train")]
    labels, placed = sky.catalog, sky.catalog.with_columns({"ra": ra, "dec": dec})
    with pytest.raises(SplitError, match="1 pairs"):
        fit(sky, tmp_path / "labels", recipe, labels=placed)
    with pytest.raises(SplitError, match="1 pairs"):
        fit(sky.with_catalog(placed), tmp_path / "source", recipe, labels=labels)


def test_a_device_without_memory_gets_advice(tiny: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop, "augment", full)
    with pytest.raises(TrainingError, match=r"train.batch = 4 and train.accumulate = 2"):
        fit(tiny.make_sky(), tmp_path, tiny.make_recipe())


def test_what_a_killed_write_left_is_swept_away(tiny: ModuleType, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "state"):
        disk.make_folder(folder)
        (folder / ".part-0123456789ab.json").write_text("torn")
    fit(tiny.make_sky(), tmp_path, tiny.make_recipe({"train.epochs": 1}))
    assert not list(tmp_path.rglob(".part-*"))


def test_patience_ends_a_run_that_does_not_improve(tiny: ModuleType, tmp_path: Path) -> None:
    recipe = tiny.make_recipe({"train.rate": 1e-12, "train.ema": 0.0, "train.epochs": 50, "train.patience": 2,
                               "train.select": "score", "train.schedule": "constant"})  # fmt: skip
    assert fit(tiny.make_sky(), tmp_path, recipe).epochs < 10


def test_two_runs_cannot_share_a_folder(tiny: ModuleType, tmp_path: Path) -> None:
    with disk.lock(tmp_path), pytest.raises(Locked):
        fit(tiny.make_sky(), tmp_path, tiny.make_recipe())


def test_it_leaves_torch_as_it_found_it(tiny: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    fit(tiny.make_sky(), tmp_path, tiny.make_recipe({"train.epochs": 1, "train.threads": 2}))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads and not torch.are_deterministic_algorithms_enabled()


def test_bf16_on_a_backbone_that_it_slows_is_told(
    tiny: ModuleType, tmp_path: Path, norms: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = backbone.Backbone(backbone.BACKBONES[norms].build, False, "for tests")
    monkeypatch.setitem(backbone.BACKBONES, norms, slow)
    recipe = tiny.make_recipe({"model.backbone": norms, "train.precision": "bf16", "train.epochs": 1})
    summary = fit(tiny.make_sky(), tmp_path, recipe)
    assert any("bf16" in note for note in summary.notes) == (not torch.cuda.is_available())


def test_the_rate_warms_up_and_falls() -> None:
    train = Train(epochs=11, rate=2.0, warmup=1.0)
    assert learning_rate(0.0, train) == pytest.approx(0.002)
    assert learning_rate(0.5, train) == pytest.approx(1.0, abs=0.01)
    assert learning_rate(1.0, train) == pytest.approx(2.0)
    assert learning_rate(6.0, train) == pytest.approx(1.0)  # half of the cosine
    assert learning_rate(11.0, train) == pytest.approx(0.0)
    steps = Train(rate=1.0, warmup=0.0, schedule="steps", milestones=(2.0, 4.0), gamma=0.1)
    assert [learning_rate(e, steps) for e in (0.0, 1.99, 2.0, 4.0)] == pytest.approx([1, 1, 0.1, 0.01])
    assert learning_rate(9.0, Train(rate=3.0, schedule="constant")) == 3.0
