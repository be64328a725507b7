"""Stages: which weights learn when, what stays as it is, and that a run may be killed on either side of a boundary."""

import csv
import itertools
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tuningfork import disk
from tuningfork import recipe as recipes
from tuningfork.errors import RecipeError
from tuningfork.model import backbone
from tuningfork.model.backbone import BACKBONES
from tuningfork.model.head import make_head
from tuningfork.model.net import GalaxyNet
from tuningfork.train import finish, loop
from tuningfork.train.choices import TrainRecipe
from tuningfork.train.loop import fit, learning_rate, rate_at
from tuningfork.train.stages import Stage, blocks, check_stages, depths, free, s1_rounds, set_training, stage_at


@pytest.fixture(autouse=True)
def without_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finish.export, "export_onnx", lambda folder: None)


def make_net(name: str = "s1", size: int = 8) -> GalaxyNet:
    torch.manual_seed(0)
    return GalaxyNet(name, make_head("classes", ("a", "b")), ("r",), size)


def layers(names: list[str]) -> set[str]:
    return {name.rpartition(".")[0].removeprefix("backbone.") for name in names}


def test_the_seven_rounds_of_s1_free_one_layer_after_the_other() -> None:
    net, order = make_net(), ["last", "fc5", "fc4", "conv3", "conv2", "conv1"]
    rounds = s1_rounds(3)
    assert [layers(free(net, stage)) for stage in rounds] == [set(order[:n]) for n in (1, 2, 3, 4, 5, 6, 6)]
    assert [stage.rate for stage in rounds] == [1.0] * 6 + [0.1] and {stage.epochs for stage in rounds} == {3}
    free(net, rounds[1])
    assert {n for n, p in net.named_parameters() if p.requires_grad} == set(free(net, rounds[1]))


@pytest.mark.parametrize("name", BACKBONES)
def test_the_blocks_of_any_net_hold_each_of_its_weights_once(name: str) -> None:
    with torch.device("meta"):
        net = make_net(name, max(64, BACKBONES[name].smallest))
    found = blocks(net)
    owners = [[b for b in found if key.startswith(b + ".")] for key, _ in net.named_parameters()]
    assert all(len(owner) == 1 for owner in owners) and {owner[0] for owner in owners} == set(found)
    assert found[-1] == "last" and len(found) > 3
    assert free(net, Stage(("last 1 blocks",))) == ["last.weight", "last.bias"]
    assert free(net, Stage((f"last {len(found)}",))) == free(net, Stage()) == [k for k, _ in net.named_parameters()]


def test_patterns_name_layers_and_weights() -> None:
    net = make_net()
    assert layers(free(net, Stage(("backbone.conv*", "last")))) == {"conv1", "conv2", "conv3", "last"}
    assert free(net, Stage(("backbone.fc4.bias",))) == ["backbone.fc4.bias"]
    with pytest.raises(RecipeError, match=r"'backbone\.fc6'.*did you mean 'backbone.fc"):
        free(net, Stage(("last", "backbone.fc6")))
    with pytest.raises(RecipeError, match=r"'last 7 blocks'.*has 6 blocks"):
        free(net, Stage(("last 7 blocks",)))


def test_frozen_norms_keep_their_statistics_unless_told_otherwise() -> None:
    net = make_net("s4_resnet", 16)
    stage = Stage(("last 2",))
    free(net, stage)
    set_training(net, stage)
    frozen = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d) and not m.training]
    assert len(frozen) == 1 + 5 * 2 + 2 and net.training and net.backbone.blocks[5].norm1.training  # type: ignore
    before = [m.running_mean.clone() for m in frozen if m.running_mean is not None]
    net(torch.rand(4, 1, 16, 16))
    assert all(torch.equal(a, m.running_mean) for a, m in zip(before, frozen, strict=True))  # type: ignore[arg-type]
    for other in (None, replace(stage, frozen_statistics=False)):
        set_training(net, other)
        assert all(m.training for m in net.modules())


def test_every_epoch_belongs_to_one_stage() -> None:
    stages = (Stage(epochs=2), Stage(epochs=1), Stage(epochs=3))
    assert [stage_at(epoch, stages) for epoch in range(8)] == [0, 0, 1, 2, 2, 2, 2, 2]
    assert stage_at(4, ()) == 0


@pytest.mark.parametrize(
    ("stages", "patience", "says"),
    [
        ((Stage(()),), 0, r"stages\[0\].unfreeze"),
        ((Stage(), Stage(epochs=0)), 0, r"stages\[1\].epochs' is 0"),
        ((Stage(rate=0.0),), 0, r"stages\[0\].rate"),
        ((Stage(rate=float("nan")),), 0, r"stages\[0\].rate"),
        ((Stage(epochs=2), Stage()), 0, "'train.epochs' is 1, but the 2 stages take 3"),
        ((Stage(),), 2, "train.patience"),
    ],
)
def test_stages_that_cannot_be_are_refused(stages: tuple[Stage, ...], patience: int, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        check_stages(stages, 1, patience)


def test_every_stage_has_a_schedule_of_its_own(tiny: ModuleType) -> None:
    recipe = replace(tiny.make_recipe({"train.epochs": 5}), stages=(Stage(epochs=2), Stage(rate=0.1, epochs=3)))
    alone = replace(recipe.train, epochs=3)
    assert rate_at(2.0, recipe, 1) == pytest.approx(0.1 * learning_rate(0.0, alone))
    assert rate_at(3.7, recipe, 1) == pytest.approx(0.1 * learning_rate(1.7, alone))
    assert rate_at(2.0, recipe, 0) == pytest.approx(0.0)  # the end of the first
    assert rate_at(1.3, replace(recipe, stages=()), 0) == learning_rate(1.3, recipe.train)


def test_stages_are_written_as_an_array_of_tables_and_read_back(tiny: ModuleType, tmp_path: Path) -> None:
    recipe = recipes.replace(tiny.make_recipe(), {"stages": s1_rounds(2), "start": "a model"})
    text = recipes.dump(recipe)
    assert text.count("[[stages]]") == 7 and "stages = " not in text
    recipes.save(recipe, tmp_path / "recipe.toml")
    assert recipes.load(TrainRecipe, tmp_path / "recipe.toml") == recipe
    with pytest.raises(RecipeError, match=r"stages\[1\]\.rat'; did you mean 'rate'"):
        recipes.from_mapping(TrainRecipe, {"stages": [{}, {"rat": 1.0}]})


@pytest.fixture
def norms(monkeypatch: pytest.MonkeyPatch) -> str:
    """A small backbone of two blocks with batch norms."""

    def build(n_bands: int, size: int) -> nn.Module:
        def block(n_in: int, n_out: int) -> nn.Module:
            return nn.Sequential(nn.Conv2d(n_in, n_out, 3), nn.BatchNorm2d(n_out), nn.ReLU())

        net = nn.Sequential(block(n_bands, 6), block(6, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        net.n_features = 8
        return net

    monkeypatch.setitem(backbone.BACKBONES, "norms", backbone.Backbone(build, True, "for tests"))
    return "norms"


def staged(tiny: ModuleType, norms: str, **changes: Any) -> TrainRecipe:
    given = {"model.backbone": norms, "train.epochs": 4, "train.ema": 0.9, "train.clip": 0.5, "model.dropout": 0.3}
    stages = (Stage(("last",)), Stage(("last 2",), epochs=2), Stage(("backbone.0", "last"), rate=0.1))
    return recipes.replace(tiny.make_recipe({**given, **changes}), {"stages": stages})


def watch(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, dict[str, Tensor]]]:
    """The stage of every step from now on, and all the network's tensors after it."""
    steps: list[tuple[int, dict[str, Tensor]]] = []
    step = loop._step

    def watched(run: Any, rows: Any) -> None:
        if not steps:
            steps.append((-1, {k: v.clone() for k, v in run.state.net.state_dict().items()}))
        step(run, rows)
        steps.append((run.state.progress.stage, {k: v.clone() for k, v in run.state.net.state_dict().items()}))

    monkeypatch.setattr(loop, "_step", watched)
    return steps


def test_in_each_stage_only_its_weights_and_statistics_move(
    tiny: ModuleType, tmp_path: Path, norms: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = watch(monkeypatch)
    fit(tiny.make_sky(), tmp_path, staged(tiny, norms))
    moved: dict[int, set[str]] = {0: set(), 1: set(), 2: set()}
    for (_, before), (stage, after) in itertools.pairwise(steps):
        moved[stage] |= {key for key in after if not torch.equal(before[key], after[key])}
    everything = set(steps[0][1]) - {"mean", "std"}
    last = {"last.weight", "last.bias"}
    assert moved[0] == last
    assert moved[1] == last | {key for key in everything if key.startswith("backbone.1.")}
    assert moved[2] == last | {key for key in everything if key.startswith("backbone.0.")}
    with open(tmp_path / "log.csv") as file:
        assert [row["stage"] for row in csv.DictReader(file)] == ["1", "2", "2", "3"]


@pytest.mark.parametrize("decay", [1.0, 0.5])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_stopped_on_either_side_of_a_boundary_it_ends_with_the_same_bits(
    tiny: ModuleType, tmp_path: Path, norms: str, optimizer: str, decay: float
) -> None:
    recipe = staged(tiny, norms, **{"train.optimizer": optimizer, "train.layer_decay": decay})
    whole = fit(tiny.make_sky(), tmp_path / "whole", recipe)
    steps = whole.best["step"] // whole.best["epoch"]
    assert steps == 5
    for stop in (3, 5, 6, 14, 15, 16, 20):  # stages begin after steps 5 and 15
        out = tmp_path / f"stopped{stop}"
        assert fit(tiny.make_sky(), out, recipe, stop_after_steps=stop).stopped
        entry = disk.read_json(out / "state" / f"state-{stop:09d}.json")
        assert entry["progress"]["stage"] == (stop > 5) + (stop > 15)
        torch.manual_seed(stop)  # whatever happened in between
        fit(tiny.make_sky(), out, recipe)
        assert tiny.weights(out) == tiny.weights(tmp_path / "whole")
    with pytest.raises(RecipeError, match=r"recipe\.stages"):
        fit(tiny.make_sky(), tmp_path / "whole", replace(recipe, stages=(*recipe.stages[:2], Stage(rate=0.2))))


def test_a_later_stage_that_names_no_weight_is_refused_before_any_work(
    tiny: ModuleType, tmp_path: Path, norms: str
) -> None:
    recipe = replace(staged(tiny, norms), stages=(Stage(epochs=3), Stage(("backbone.9",))))
    with pytest.raises(RecipeError, match=r"'backbone\.9'"):
        fit(tiny.make_sky(), tmp_path, recipe)
    assert not (tmp_path / "state").exists() or not list((tmp_path / "state").iterdir())


@pytest.mark.parametrize("name", BACKBONES)
def test_the_depth_of_a_weight_counts_the_layers_to_the_answers(name: str) -> None:
    with torch.device("meta"):
        net = make_net(name, max(64, BACKBONES[name].smallest))
    found = depths(net)
    assert set(found) == {key for key, _ in net.named_parameters()}
    assert {key for key, depth in found.items() if depth == 0} == {"last.weight", "last.bias"}
    order = [found[f"{block}.{key}"] for block in blocks(net) for key, _ in net.get_submodule(block).named_parameters()]
    assert order == sorted(order, reverse=True) and set(order) == set(range(order[0] + 1))  # none is left out


def test_a_norm_is_as_deep_as_the_layer_that_it_follows() -> None:
    found = depths(make_net("resnet18", 32))
    assert found["backbone.conv1.weight"] == found["backbone.bn1.weight"] == 9  # eight pairs and the last layer
    assert found["backbone.layer4.1.conv1.weight"] == 1
    found = depths(make_net("efficientnet_lite0", 32))
    assert found["backbone.conv_head.weight"] == found["backbone.bn2.bias"] == 1
    assert found["backbone.conv_stem.weight"] == found["backbone.bn1.weight"] == 9  # seven stages between


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_layers_further_from_the_answers_move_less(
    tiny: ModuleType, tmp_path: Path, norms: str, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    steps = watch(monkeypatch)
    plain = {
        "train.weight_decay": 0.0,
        "train.momentum": 0.0,
        "train.clip": 0.0,
        "train.warmup": 0.0,
        "train.rate": 0.02,
    }
    for decay in (1.0, 0.1):
        recipe = staged(tiny, norms, **{**plain, "train.optimizer": optimizer, "train.layer_decay": decay})
        fit(tiny.make_sky(), tmp_path / str(decay), replace(recipe, stages=(Stage(epochs=4),)))
    n = len(steps) // 2  # the steps of one run, behind the weights that both begin with
    (_, before), (_, even), (_, decayed) = steps[0], steps[1], steps[1 + n]
    for block, share in {"last": 1.0, "backbone.1.0": 0.1, "backbone.1.1": 0.1, "backbone.0.0": 0.01}.items():
        one, other = (after[f"{block}.weight"] - before[f"{block}.weight"] for after in (even, decayed))
        torch.testing.assert_close(other, share * one, rtol=0, atol=2e-7)  # a weight near 1 is held to 6e-8 in float32
        assert share * one.abs().max() > 2e-6
