"""What a path is: a store, a source, a run, a model, votes or a catalogue, and what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import BadCatalog, BadVotes, BadWeights, MissingExtra, TuningforkError
from ..galaxy.catalog import Catalog
from ..galaxy.source import open_source
from ..galaxy.votes import Votes
from ..model.card import Card, find_model

_SHOWN = ("validation_loss", "accuracy", "balanced_accuracy", "rmse")  # of a model's measures, those worth a line


def info(path: str | Path) -> dict[str, Any]:
    """Describe a path as a flat dictionary, ``{"kind": "store", "galaxies": 5649, ...}``.

    Tried in turn: a model or run folder (holds a card), votes (our Parquet), a catalogue file, a source of galaxies.
    Raises the last one's error where the path is none of them.
    """
    folder = Path(path)
    try:
        return _model(find_model(path))
    except BadWeights:
        if (folder / "card.json").exists() or (folder / "model" / "card.json").exists():
            raise
    if folder.is_file():
        for describe in (_votes, _catalog):
            try:
                return describe(folder)
            except (BadVotes, BadCatalog):
                continue
    return _source(str(path))


def _model(folder: Path) -> dict[str, Any]:
    card = Card.load(folder)
    return {
        "kind": "model",
        "path": str(folder),
        "name": card.name,
        "answers": _listed(card.names),
        "head": card.head,
        "bands": ",".join(card.bands),
        "input": f"{card.size} px",
        "backbone": card.backbone,
        "parameters": card.parameters,
        "epochs": len(card.history),
        "validation": ", ".join(f"{k} {v:.4g}" for k, v in card.metrics.get("validation", {}).items() if k in _SHOWN),
        "digest": card.digest,
    }


def _listed(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def _votes(path: Path) -> dict[str, Any]:
    votes = Votes.read(path)
    done = int(votes.done.sum())
    return {
        "kind": "votes",
        "path": str(path),
        "galaxies": len(votes.ids),
        "done": done,
        "rejected": len(votes.ids) - done,
        "head": votes.head,
        "model": votes.metadata.get("model", {}).get("name", "unknown"),
        "columns": len(votes.table.column_names),
    }


def _catalog(path: Path) -> dict[str, Any]:
    catalog = Catalog.read(path)
    return {"kind": "catalogue", "path": str(path), "rows": len(catalog), "columns": _listed(catalog.columns)}


def _source(path: str) -> dict[str, Any]:
    source = open_source(path)
    columns = source.catalog.columns if source.catalog else []
    return {
        "kind": source.kind,
        "path": path,
        "galaxies": len(source),
        "bands": ",".join(source.bands) if source.bands else "not known before decoding",
        "pixel_scale": f"{source.pixel_scale:g} arcsec" if source.pixel_scale else "unknown",
        "catalogue": _listed(columns) or "none",
        "digest": source.digest,
    }


def list_models(folder: str | Path = ".") -> list[dict[str, Any]]:
    """The models under ``folder``, three levels deep: name, head, bands, input, path; a broken one says why."""
    rows = []
    for depth in ("", "*/", "*/*/", "*/*/*/"):
        for card in sorted(Path(folder).glob(f"{depth}card.json")):
            try:
                one = _model(card.parent)
                rows.append({key: one[key] for key in ("name", "head", "bands", "input", "backbone", "path")})
            except TuningforkError as error:
                rows.append({"name": card.parent.name, "broken": str(error), "path": str(card.parent)})
    return rows


def list_backbones() -> list[dict[str, Any]]:
    """The networks that ``train`` can use; raises :class:`~tuningfork.errors.MissingExtra` without torch."""
    try:
        from ..model.backbone import BACKBONES
    except ImportError as error:
        raise MissingExtra("torch", "train") from error
    return [
        {"name": name, "note": one.note, "bf16": "pays" if one.bf16 else "does not pay"}
        for name, one in BACKBONES.items()
    ]
