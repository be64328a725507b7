"""A child that trains on a tiny sky and dies: at a step of the disk, or by SIGKILL after a step of the optimiser."""

import os
import runpy
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from tuningfork import disk
from tuningfork.model import backbone
from tuningfork.train import finish
from tuningfork.train.loop import fit

CHANGES: dict[str, Any] = {
    "model.backbone": "norms", "train.epochs": 2, "train.batch": 3, "train.save_steps": 4, "model.dropout": 0.3,
    "augment.noise": 0.02, "train.accumulate": 2, "train.balance": "balanced",
}  # fmt: skip
DIED = 86


def build(n_bands: int, size: int) -> nn.Module:
    """A few hundred weights, with norms and dropout, so that a state is written in a millisecond."""
    net = nn.Sequential(nn.Conv2d(n_bands, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net.n_features = 6
    return net


def train(tiny: Any, out: Path, *, die_at: int = 0, kill_after: int = 0, log: Path | None = None) -> None:
    """One attempt; ``die_at``: the number of the disk step at which the process ends at once, without any cleaning."""
    torch.set_num_threads(1)
    backbone.BACKBONES["norms"] = backbone.Backbone(build, True, "for tests")
    finish.export.export_onnx = lambda folder: folder  # proved in its own room
    passed = [0]

    def step(name: str, path: Path) -> None:
        passed[0] += 1
        if log is not None:
            with open(log, "a") as file:
                file.write(f"{passed[0]} {name} {path.relative_to(out)}\n")
        if passed[0] == die_at:
            os._exit(DIED)

    def killed(done: int, total: int, text: str) -> None:
        if kill_after and text.startswith("epoch") and done == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    before = disk.step
    try:
        disk.step = step
        fit(tiny.make_sky(30), out, tiny.make_recipe(CHANGES), progress=killed)
    finally:
        disk.step = before


if "ATTEMPT" in globals():  # run by runpy in the child, which was handed this
    options = dict(globals()["ATTEMPT"])
    train(SimpleNamespace(**runpy.run_path(options.pop("tiny"))), options.pop("out"), **options)
