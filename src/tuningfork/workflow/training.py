"""Train from files: opens the galaxies, finds the labels, fills in what the galaxies themselves decide, and fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import recipe as recipes
from ..errors import LabelError, MissingExtra, RecipeError
from ..galaxy.catalog import Catalog
from ..galaxy.labels import find_votes
from ..galaxy.source import Source, open_source
from ..galaxy.tree import Tree
from ..published.imagenet import fetch_imagenet

if TYPE_CHECKING:
    from ..train.choices import TrainRecipe
    from ..train.finish import TrainSummary

Progress = Callable[[int, int, str], None]

IMAGENET = "imagenet"  # as model.pretrained: the ImageNet weights of the backbone, fetched unless they are here


def train(
    data: str | Path | Source,
    out: str | Path,
    *,
    labels: str | Path | Catalog | None = None,
    recipe: str | Path | TrainRecipe | None = None,
    changes: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> TrainSummary:
    """Train a network on the galaxies of ``data`` and write the run folder ``out``.

    Args:
        data: a store, or whatever :func:`~tuningfork.galaxy.source.open_source` opens.
        labels: a catalogue (or its file) joined by id; or the name of a column of the store's own catalogue; None
            takes what the recipe names (column "class" by default) from the store's own catalogue.
        recipe: a :class:`~tuningfork.train.choices.TrainRecipe`, or a TOML file of one; None = all defaults.
            With a tree and no kind of label, its votes are learnt: counts where there are any, else fractions. Where
            ``model.pretrained`` is "imagenet", the backbone's ImageNet weights are fetched
            (:func:`~tuningfork.published.imagenet.fetch_imagenet`), once for all runs, and their path put in its place.
        changes: single choices by dotted key, ``{"train.epochs": 20}``; they win over the recipe.

    The same call in the same folder goes on where a stopped run was, and ends with the same weights. Raises
    :class:`~tuningfork.errors.MissingExtra` where torch is not installed, :class:`~tuningfork.errors.RecipeError` for a
    backbone or bands without ImageNet weights, and what fetching them and :func:`~tuningfork.train.loop.fit` raise.
    """
    try:
        from ..train.choices import TrainRecipe
        from ..train.loop import fit
    except ImportError as error:
        if isinstance(error, MissingExtra) or (error.name or "").startswith("tuningfork"):
            raise
        raise MissingExtra(error.name or "torch", "train") from error
    source = open_source(data) if isinstance(data, (str, Path)) else data
    chosen = (
        recipe if isinstance(recipe, TrainRecipe) else recipes.load(TrainRecipe, recipe) if recipe else TrainRecipe()
    )
    chosen = recipes.replace(chosen, dict(changes or {}))
    catalog, column = find_labels(source, labels)
    if column:
        chosen = replace(chosen, labels=replace(chosen.labels, column=column))
    if chosen.labels.tree and chosen.labels.kind == "column" and not column:
        counted = find_votes(catalog, Tree.load(chosen.labels.tree))[0] == "counts"
        chosen = replace(chosen, labels=replace(chosen.labels, kind="counts" if counted else "fractions"))
    if chosen.model.pretrained == IMAGENET and not chosen.start:  # both are refused by fit
        chosen = _from_imagenet(chosen, source, progress)
    return fit(source, out, chosen, labels=catalog, progress=progress)


def _from_imagenet(recipe: TrainRecipe, source: Source, progress: Progress | None) -> TrainRecipe:
    """The recipe with the path of its backbone's ImageNet weights; an unknown backbone is left to fit to refuse."""
    from ..model.backbone import BACKBONES

    name, bands = recipe.model.backbone, recipe.display.bands or source.bands
    if name not in BACKBONES:
        return recipe
    repository = BACKBONES[name].imagenet
    if not repository:
        known = ", ".join(one for one, its in BACKBONES.items() if its.imagenet)
        raise RecipeError(
            f"no ImageNet weights of '{name}' are published as safetensors, and a pickle (torchvision's of GoogLeNet, "
            "say) is not read, because it can run code. Choose one of "
            f"{known}; or leave --pretrained (model.pretrained) out; or give a file: a .pth that "
            "you trust is converted, once, by "
            "safetensors.torch.save_file(torch.load('x.pth', weights_only=True), 'x.safetensors')"
        )
    if bands and len(bands) != 3:
        raise RecipeError(
            f"ImageNet weights are of three bands, and these galaxies have {len(bands)} ({', '.join(bands)}): pick "
            "three (--set display.bands=g,r,z), or leave --pretrained out for random weights"
        )
    path = fetch_imagenet(repository, progress=progress)
    return replace(recipe, model=replace(recipe.model, pretrained=str(path)))


def find_labels(source: Source, labels: str | Path | Catalog | None) -> tuple[Catalog, str]:
    """The catalogue that holds the labels, and the column that was named instead of a file ("" where none was).

    ``labels`` is as for :func:`train`. Raises :class:`LabelError` where the source has no catalogue of its own, or none
    with that column, and what reading a file raises.
    """
    if isinstance(labels, Catalog):
        return labels, ""
    if labels and (Path(labels).exists() or Path(labels).suffix):
        return Catalog.read(labels), ""
    if source.catalog is None:
        raise LabelError(
            f"'{source.path}' has no labels of its own: give a catalogue with --labels FILE, here or to ingest"
        )
    if labels and str(labels) not in source.catalog.columns:
        raise LabelError(
            f"'{labels}' is neither a file nor a column of the catalogue of '{source.path}', which has: "
            f"{', '.join(source.catalog.columns[:30])}"
        )
    return source.catalog, str(labels or "")
