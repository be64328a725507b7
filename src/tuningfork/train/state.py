"""Where a training run stands: everything that a killed run needs to go on bit for bit, as safetensors and JSON."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from .. import disk
from ..errors import DiskError, RecipeError

POINTER = "latest.json"
KEPT = 2


@dataclass
class Progress:
    """The numbers of a run. No state of a random generator is among them: chance is a function of (seed, step)."""

    step: int = 0  # of the optimiser, tried so far
    losses: float = 0.0  # sum of the training losses of this epoch's galaxies so far
    galaxies: int = 0  # and their number
    seconds: float = 0.0  # of training, over all attempts
    history: list[dict[str, Any]] = field(default_factory=list)  # one entry per finished epoch
    best: dict[str, Any] | None = None  # the history's entry whose weights are kept
    in_a_row: int = 0  # steps without a finite loss, the last ones
    skipped: list[dict[str, Any]] = field(default_factory=list)  # those steps: step, ids
    stage: int = 0  # whose weights the optimiser moves
    origin: list[str] = field(default_factory=list)  # what was taken of the weights it starts from, for people
    torch: str = ""  # its version
    threads: int = 0  # of the CPU: the order of sums, and so the last bits, depend on it


class Average:
    """A moving average of a network's weights and statistics: a <- d a + (1 - d) w after every step.

    d = min(decay, (1 + step) / (10 + step)), so that the first, bad weights are soon forgotten. Numbers that are not
    floating point (counts of batches) are copied. With decay 0 the average is the network itself.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay, self._source = decay, net
        self.net = copy.deepcopy(net).requires_grad_(False) if decay > 0 else net

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the network's weights after optimiser step ``step`` (counted from 0)."""
        if self.net is self._source:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        for mean, now in zip(self.net.state_dict().values(), self._source.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)


@dataclass
class TrainState:
    """The moving parts of a run: network, average, best weights so far, optimiser, and :class:`Progress`."""

    net: nn.Module
    average: Average
    optimizer: torch.optim.Optimizer
    progress: Progress = field(default_factory=Progress)
    best: dict[str, Tensor] = field(default_factory=dict)

    def keep_best(self) -> None:
        """Keep the average's weights of now as the best."""
        self.best = {key: value.detach().cpu().clone() for key, value in self.average.net.state_dict().items()}

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, contiguous copies on the CPU."""
        found = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        if self.average.net is not self.net:
            found |= {f"average.{k}": v for k, v in self.average.net.state_dict().items()}
        found |= {f"best.{k}": v for k, v in self.best.items()}
        for number, values in self.optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{number}.{k}": v for k, v in values.items() if isinstance(v, Tensor)}
        return {k: v.detach().to("cpu", copy=True).contiguous() for k, v in found.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what :meth:`tensors` gave, into the memory layout of the network, on its device."""

        def under(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.net.load_state_dict(under("net."))
        if self.average.net is not self.net:
            self.average.net.load_state_dict(under("average."))
        self.best = under("best.")
        weights = [p for group in self.optimizer.param_groups for p in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in under("optimizer.").items():
            number, _, name = key.partition(".")
            like = weights[int(number)]
            if value.shape == like.shape:  # the same strides as the weight, so that sums run in the same order
                value = torch.empty_like(like).copy_(value).detach()
            state.setdefault(int(number), {})[name] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})


def save(state: TrainState, folder: Path, identity: Mapping[str, Any]) -> None:
    """Write the state to ``folder``: tensors, then their JSON, then the pointer; then drop all but the last two.

    ``identity``: what a run must share with this state to go on from it (:func:`load`). A kill at any moment leaves
    the pointer on a state that is whole.
    """
    name = f"state-{state.progress.step:09d}"
    data = safetensors.torch.save(state.tensors())
    disk.write_bytes(folder / f"{name}.safetensors", data)
    entry = {"identity": dict(identity), "progress": asdict(state.progress), "sha256": disk.sha256(data)}
    disk.write_json(folder / f"{name}.json", entry)
    disk.write_json(folder / POINTER, {"name": name})
    stored = sorted(path.stem for path in folder.glob("state-*.json"))
    for path in folder.glob("state-*"):
        if path.stem not in (name, *stored[-KEPT:]):
            disk.remove(path)


def load(folder: Path, identity: Mapping[str, Any]) -> tuple[dict[str, Tensor], Progress] | None:
    """The newest whole state, or None where there is none.

    That is the pointer's, else (its files are damaged) the one before. Raises :class:`RecipeError`, listing every
    difference, if the state belongs to other choices or other galaxies; :class:`DiskError` if states are there and
    none is whole.
    """
    if not (folder / POINTER).exists():
        return None
    newest = str(disk.read_json(folder / POINTER).get("name"))
    names = [newest, *sorted((p.stem for p in folder.glob("state-*.json") if p.stem != newest), reverse=True)]
    problems = []
    for name in names:
        try:
            entry = disk.read_json(folder / f"{name}.json")
            data = (folder / f"{name}.safetensors").read_bytes()
            if disk.sha256(data) != entry["sha256"]:
                raise DiskError(f"'{folder / name}.safetensors' is not what was written (SHA-256 differs)")
            tensors, progress = safetensors.torch.load(data), Progress(**entry["progress"])
        except (DiskError, OSError, SafetensorError, KeyError, TypeError, AttributeError) as error:
            problems.append(f"{name}: {error}")
            continue
        refuse_differences(entry["identity"], identity, folder.parent)
        return tensors, progress
    raise DiskError(f"no state in '{folder}' is whole ({'; '.join(problems)}): remove the folder to start again")


_PRETRAINED = "recipe.model.pretrained"


def by_content(path: str) -> str:
    """The SHA-256 of the file at a path; the text itself where there is none (no path, or a digest already)."""
    return disk.sha256(Path(path)) if path and Path(path).is_file() else path


def refuse_differences(stored: Mapping[str, Any], now: Mapping[str, Any], run: Path) -> None:
    """Raise :class:`RecipeError` that lists by dotted key what was ``stored`` in ``run`` and what is asked ``now``."""
    before, after = _flat(json.loads(json.dumps(stored))), _flat(json.loads(json.dumps(now)))
    if _PRETRAINED in before:  # a path, in runs of before it was told by its content
        before[_PRETRAINED] = by_content(str(before[_PRETRAINED]))
    keys = sorted({*before, *after}, key=lambda key: (not key.startswith("recipe."), key))  # people's choices first
    different = [key for key in keys if before.get(key) != after.get(key)]
    if different:
        before, after = ({k: v[:12] if _is_digest(v) else v for k, v in flat.items()} for flat in (before, after))
        lines = [f"{key}: {before.get(key, 'absent')!r} there, {after.get(key, 'absent')!r} now" for key in different]
        raise RecipeError(
            f"'{run}' holds a run with other choices or galaxies, which cannot go on with these: "
            f"{'; '.join(lines[:20])}{' ...' if len(lines) > 20 else ''}. Choose another folder, or that run's choices"
        )


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _flat(mapping: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        flat |= _flat(value, f"{where}{key}.") if isinstance(value, dict) and value else {f"{where}{key}": value}
    return flat
