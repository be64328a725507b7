"""Where weights begin: at another model, taken where they fit and told where not, or at a pretrained backbone."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import safetensors.torch
import torch

from tuningfork import disk
from tuningfork.errors import BadWeights, RecipeError
from tuningfork.galaxy.display import Display
from tuningfork.model import weights
from tuningfork.train import finish
from tuningfork.train.choices import TrainRecipe, check
from tuningfork.train.loop import fit
from tuningfork.train.origin import take, transfer
from tuningfork.train.stages import Stage


@pytest.fixture(autouse=True)
def without_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finish.export, "export_onnx", lambda folder: None)


def still(tiny: ModuleType, **changes: Any) -> TrainRecipe:
    """A run whose only epoch hardly moves anything."""
    return tiny.make_recipe({"train.epochs": 1, "train.rate": 1e-12, "train.weight_decay": 0.0, **changes})  # type: ignore[no-any-return]


def test_a_run_from_a_model_begins_as_the_same_function(tiny: ModuleType, tmp_path: Path) -> None:
    fit(tiny.make_sky(), tmp_path / "first", tiny.make_recipe({"train.epochs": 2}))
    summary = fit(tiny.make_sky(), tmp_path / "second", still(tiny, start=str(tmp_path / "first")))
    (old, _), (new, card) = (weights.load(tmp_path / name / "model") for name in ("first", "second"))
    for key, value in old.state_dict().items():
        torch.testing.assert_close(new.state_dict()[key], value, rtol=0, atol=1e-9)  # the rate is 1e-12
    (line,) = [note for note in summary.notes if "starts from" in note]
    assert "14 of 14 tensors are taken" in line and "anew" not in line
    assert card.training["origin"] == [line]
    assert card.training["recipe"]["start"] == str(tmp_path / "first")


def test_other_answers_begin_with_a_new_last_layer_and_that_is_told(tiny: ModuleType, tmp_path: Path) -> None:
    fit(tiny.make_sky(), tmp_path / "first", tiny.make_recipe({"train.epochs": 1}))
    changes = {"start": str(tmp_path / "first"), "labels.merge": "any=round+long"}
    summary = fit(tiny.make_sky(), tmp_path / "second", still(tiny, **changes))
    (line,) = [note for note in summary.notes if "starts from" in note]
    assert "12 of 14" in line and "begin anew: last.weight ((3, 500) there, (2, 500) here); last.bias" in line
    net, card = weights.load(tmp_path / "first" / "model")
    renamed = replace(card, names=("a", "b", "c"))
    lines = take(net, renamed, str(tmp_path / "first"))
    assert "last.weight (other answers); last.bias (other answers)" in lines[0]
    assert (
        "saw the bands red, green, blue" in take(net, replace(card, bands=("i", "r", "g")), str(tmp_path / "first"))[1]
    )


def test_what_cannot_be_the_beginning_is_refused(tiny: ModuleType, tmp_path: Path) -> None:
    fit(tiny.make_sky(), tmp_path / "first", tiny.make_recipe({"train.epochs": 1}))
    start = {"start": str(tmp_path / "first")}
    with pytest.raises(BadWeights, match="a 's1', but the network is a 's4_cnn'"):
        fit(tiny.make_sky(), tmp_path / "other", still(tiny, **start, **{"model.backbone": "s4_cnn"}))
    with pytest.raises(RecipeError, match="starts from one"):
        fit(tiny.make_sky(), tmp_path / "both", still(tiny, **start, **{"model.pretrained": "x"}))
    with pytest.raises(BadWeights, match="is no model"):
        fit(tiny.make_sky(), tmp_path / "none", still(tiny, start="nothing"))
    summary = fit(tiny.make_sky(), tmp_path / "larger", still(tiny, **start, **{"display.size": 16}))
    assert "backbone.fc4.weight" in summary.text()  # its width goes with the size; all else is taken


def test_a_run_that_was_stopped_does_not_begin_again(tiny: ModuleType, tmp_path: Path) -> None:
    fit(tiny.make_sky(), tmp_path / "first", tiny.make_recipe({"train.epochs": 1}))
    recipe = tiny.make_recipe({"train.epochs": 2, "start": str(tmp_path / "first")})
    recipe = replace(recipe, stages=(Stage(("last 2",)), Stage(rate=0.1)))
    fit(tiny.make_sky(), tmp_path / "whole", recipe)
    for stop in (1, 5, 6):
        out = tmp_path / str(stop)
        fit(tiny.make_sky(), out, recipe, stop_after_steps=stop)
        (tmp_path / "first").rename(tmp_path / "gone")  # it is not needed any more
        assert "14 of 14 tensors are taken" in fit(tiny.make_sky(), out, recipe).text()
        (tmp_path / "gone").rename(tmp_path / "first")
        assert tiny.weights(out) == tiny.weights(tmp_path / "whole")
    fit(tiny.make_sky(), tmp_path / "random", replace(recipe, start=""))
    assert tiny.weights(tmp_path / "random") != tiny.weights(tmp_path / "whole")


def test_a_backbone_starts_from_a_file_and_says_what_of_it_is_not_used(tiny: ModuleType, tmp_path: Path) -> None:
    fit(tiny.make_sky(), tmp_path / "first", tiny.make_recipe({"train.epochs": 1}))
    old = weights.load(tmp_path / "first" / "model")[0].backbone
    backbone = {key: value.contiguous() for key, value in old.state_dict().items()}
    data = safetensors.torch.save({**backbone, "fc.weight": torch.zeros(1000, 500)})
    (tmp_path / "imagenet.safetensors").write_bytes(data)
    pretrained = {"model.pretrained": str(tmp_path / "imagenet.safetensors")}
    summary = fit(tiny.make_sky(), tmp_path / "second", still(tiny, **pretrained))
    assert "(but for its own last layer: fc.weight)" in summary.text()
    after = weights.load(tmp_path / "second" / "model")[0].backbone.state_dict()
    for key, value in backbone.items():
        torch.testing.assert_close(after[key], value, rtol=0, atol=1e-9)  # the rate is 1e-12


def test_the_recipe_of_a_start_is_the_models_network_and_view_and_two_rounds(tiny: ModuleType, tmp_path: Path) -> None:
    fit(tiny.make_sky(), tmp_path / "first", tiny.make_recipe({"train.epochs": 1}))
    recipe = transfer(str(tmp_path / "first"), 10)
    check(recipe)
    assert recipe.model.backbone == "s1" and recipe.display == Display(size=8)
    assert [(one.unfreeze, one.epochs) for one in recipe.stages] == [(("last",), 3), (("*",), 7)]
    assert recipe.train.layer_decay < 1 and recipe.stages[1].rate < recipe.stages[0].rate == 1
    for epochs in (1, 2):
        check(transfer(str(tmp_path / "first"), epochs))
    with pytest.raises(BadWeights, match="is no model"):
        transfer("nothing")


def test_a_run_begun_before_rates_could_decay_goes_on(tiny: ModuleType, tmp_path: Path) -> None:
    recipe = tiny.make_recipe({"train.epochs": 2})
    fit(tiny.make_sky(), tmp_path / "whole", recipe)
    fit(tiny.make_sky(), tmp_path / "old", recipe, stop_after_steps=3)
    stored = disk.read_json(tmp_path / "old" / "state" / "state-000000003.json")
    assert "layer_decay" not in stored["identity"]["recipe"]["train"]  # as it was stored then
    fit(tiny.make_sky(), tmp_path / "old", recipe)
    assert tiny.weights(tmp_path / "old") == tiny.weights(tmp_path / "whole")
    with pytest.raises(RecipeError, match=r"recipe\.train\.layer_decay: 'absent' there, 0\.5 now"):
        fit(tiny.make_sky(), tmp_path / "whole", tiny.make_recipe({"train.epochs": 2, "train.layer_decay": 0.5}))


@pytest.mark.parametrize("decay", [0.0, 1.5, float("nan")])
def test_a_decay_of_the_rate_that_cannot_be_is_refused(tiny: ModuleType, decay: float) -> None:
    with pytest.raises(RecipeError, match=r"'train\.layer_decay' is"):
        check(tiny.make_recipe({"train.layer_decay": decay}))
