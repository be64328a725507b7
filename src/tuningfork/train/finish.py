"""The end of a run: the best weights with a fitted temperature, their card, their export, and the run's summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import disk
from .. import recipe as recipes
from ..data.dataset import Cache
from ..data.sampling import copies
from ..galaxy.display import Display
from ..galaxy.labels import Labels
from ..model import export, weights
from ..model.card import Card
from ..model.net import GalaxyNet
from .choices import TrainRecipe
from .judge import fit_temperature
from .objective import strata
from .prepare import Joined
from .state import Progress, refuse_differences

SUMMARY = "run.json"
_CLERKS = ("epoch", "step", "rate", "skipped", "seconds", "stage")  # entries of the history that do not judge
GALAXIES = 4  # in the golden pair
_SILENT = ("epoch", "seconds", "step", "rate", "skipped")  # of an epoch's numbers, not told in one line


@dataclass(frozen=True)
class TrainSummary:
    """What a run did; galaxies with a label and a picture: ``n_in = n_done + n_rejected``.

    ``n_done`` counts the test part too, whose pictures training never opens. ``best`` is the entry of the history
    whose weights are kept. ``stopped``: the run was asked to stop, and goes on when it is started again.
    """

    path: str
    n_in: int
    n_done: int
    n_rejected: int
    parts: dict[str, int] = field(default_factory=dict)
    epochs: int = 0
    best: dict[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    skipped_steps: int = 0
    seconds: float = 0.0
    stopped: bool = False
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """A few lines for people."""
        parts = ", ".join(f"{n:,} {part}" for part, n in self.parts.items())
        lines = [f"{self.n_in:,} galaxies in = {self.n_done:,} done + {self.n_rejected:,} rejected ({parts})"]
        if self.stopped:
            lines.append(f"stopped after {self.epochs} epochs; the same command goes on in '{self.path}'")
        else:
            numbers = ", ".join(f"{k} {v:.4g}" for k, v in self.best.items() if k not in _CLERKS)
            lines.append(f"best of {self.epochs} epochs: {self.best.get('epoch')} ({numbers}); {self.seconds:.0f} s")
            models = Path(self.path) / "models"
            lines.append(f"models: '{models}'" if models.is_dir() else f"model: '{Path(self.path) / 'model'}'")
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def summarise(
    out: Path,
    joined: Joined,
    caches: tuple[Cache, Cache],
    progress: Progress,
    *,
    stopped: bool,
    temperature: float = 1.0,
) -> TrainSummary:
    """The summary of a run as it stands."""
    rejected, total = sum(len(cache.rejected) for cache in caches), len(joined.labels.ids)
    return TrainSummary(
        path=str(out),
        n_in=total,
        n_done=total - rejected,
        n_rejected=rejected,
        parts=joined.counts,
        epochs=len(progress.history),
        best=progress.best or {},
        temperature=temperature,
        skipped_steps=len(progress.skipped),
        seconds=progress.seconds,
        stopped=stopped,
        notes=tuple(joined.notes),
    )


def finished(out: Path, identity: Mapping[str, Any]) -> TrainSummary | None:
    """The summary of a run that has been finished in ``out``, or None; other choices or galaxies are refused."""
    path = out / SUMMARY
    if not path.exists():
        return None
    entry = disk.read_json(path)
    refuse_differences(entry["identity"], identity, out)
    values = entry["summary"] | {"path": str(out), "notes": tuple(entry["summary"]["notes"])}
    return TrainSummary(**values)


def draft_card(name: str, labels: Labels, display: Display, recipe: TrainRecipe, head: str, cache: Cache) -> Card:
    """The card of the network to be trained: what it sees, what it answers; results come later."""
    mean, std = cache.moments(display.size)
    tree = labels.tree if head != "classes" else None
    return Card(
        name=name,
        bands=display.bands,
        display=recipes.to_mapping(display),
        head=head,
        names=labels.names,
        backbone=recipe.model.backbone,
        link=recipe.model.link,
        dropout=recipe.model.dropout,
        tree="" if tree is None else tree.name,
        tree_digest="" if tree is None else tree.digest,
        tree_toml="" if tree is None else tree.to_toml(),
        mean=mean,
        std=std,
        labels=recipes.to_mapping(recipe.labels),
        split=recipes.to_mapping(recipe.split),
    )


def golden_galaxies(bands: int, size: int) -> NDArray[np.uint8]:
    """Four made-up galaxies, uint8 (4, bands, size, size): what the golden pair of a model shows to its network.

    Ellipses of light over noise, the same for every run; no survey's pictures travel with the weights.
    """
    generator = np.random.Generator(np.random.PCG64(20))
    y, x = (np.mgrid[:size, :size] - (size - 1) / 2) / size
    pictures = []
    for number in range(GALAXIES):
        r2 = (x / 0.12) ** 2 + (y / (0.12 - 0.025 * number)) ** 2
        light = (60 + 50 * number) * np.exp(-np.sqrt(r2)) * np.linspace(1.0, 0.7, bands)[:, None, None]
        pictures.append(light + 20 + generator.normal(0, 6, (bands, size, size)))
    return np.clip(np.round(np.stack(pictures)), 0, 255).astype(np.uint8)


def finish(
    out: Path,
    net: GalaxyNet,
    card: Card,
    joined: Joined,
    caches: tuple[Cache, Cache],
    progress: Progress,
    z: Tensor,
    targets: Tensor,
    identity: Mapping[str, Any],
) -> TrainSummary:
    """Write ``out``/model (weights, card, golden pair, ONNX) from a net that holds the best weights, and run.json last.

    ``z``, ``targets``: its raw outputs and the labels of the validation part, on which a class head's temperature is
    fitted.
    """
    temperature = 1.0
    if card.head == "classes":
        shift = prior_shift(joined, caches[0].ids, joined.labels, identity)
        z = shifted(net, shift, z)
        temperature = fit_temperature(z.numpy(), targets.numpy())
        net.head.temperature = temperature  # type: ignore[assignment]
    summary = summarise(out, joined, caches, progress, stopped=False, temperature=temperature)
    write_model(out / "model", net, card, told(joined, caches, progress, identity))
    disk.write_json(out / SUMMARY, {"identity": dict(identity), "summary": asdict(summary)})
    return summary


def prior_shift(joined: Joined, trained: Sequence[str], labels: Labels, identity: Mapping[str, Any]) -> Tensor:
    """What is added to the raw outputs of classes (K,), because a balanced epoch showed them in other shares: float32.

    ``train.prior`` times log(n_k / N) - log(s_k / S), where n_k galaxies of class k are in the training part and an
    epoch shows s_k (Saerens et al. 2002, Neural Computation 14, 21: a classifier trained under other priors). 0 for a
    class without galaxies. ``labels`` are the classes of all galaxies of ``joined``: rows of NaN where it has none.
    """
    chosen = identity["recipe"]["train"]
    strength, balance = float(chosen.get("prior", 0.0)), str(chosen["balance"])
    if not strength or balance == "none":
        return torch.zeros(len(labels.names))
    groups = joined.values(trained, strata(joined.labels))  # type: ignore[arg-type]
    _, number, counts = np.unique(groups, return_inverse=True, return_counts=True)
    classes = np.nan_to_num(joined.values(trained, labels.values))  # (n, K)
    own, shown = classes.sum(axis=0), copies(counts, balance)[number] @ classes  # (K,)
    there = own > 0
    ratio = np.where(there, own / own.sum(), 1.0) / np.where(there, shown / shown.sum(), 1.0)
    return torch.from_numpy((strength * np.log(ratio)).astype(np.float32))


def shifted(net: GalaxyNet, shift: Tensor, z: Tensor) -> Tensor:
    """Add ``shift`` (K,) to the biases of the last layer, and to its outputs ``z`` (N, K), which come back."""
    with torch.no_grad():
        net.last.bias.add_(shift.to(net.last.bias.device))
    return z + shift


def told(
    joined: Joined, caches: tuple[Cache, Cache], progress: Progress, identity: Mapping[str, Any]
) -> dict[str, Any]:
    """What a card tells of the run that it comes from."""
    return {
        "history": tuple(progress.history),
        "metrics": {"validation": progress.best or {}},
        "training": {
            "data": joined.digest,
            "galaxies": joined.counts,
            "rejected": {part: len(c.rejected) for part, c in zip(("train", "validation"), caches, strict=True)},
            "unlabelled": joined.n_unlabelled,
            "skipped_steps": len(progress.skipped),
            "seconds": round(progress.seconds, 1),
            "recipe": {key: identity["recipe"][key] for key in ("augment", "model", "train", "start", "stages")},
            "origin": progress.origin,
            "torch": progress.torch,
        },
    }


def write_model(folder: Path, net: GalaxyNet, card: Card, history: Mapping[str, Any]) -> None:
    """Write a model's folder: weights, card, golden pair and ONNX."""
    weights.save(net.cpu(), Card(**{**asdict(card), **history}), folder, golden_galaxies(len(card.bands), card.size))
    export.export_onnx(folder)
