"""What a path is: a store, a source, a run, a model, votes or a catalogue, and what is in it."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import disk
from ..errors import BadCatalog, BadImage, BadVotes, BadWeights, MissingExtra, TuningforkError
from ..galaxy.catalog import Catalog
from ..galaxy.records import Source
from ..galaxy.source import open_source
from ..galaxy.store import MANIFEST, PLAN
from ..galaxy.votes import Votes
from ..model.card import CARD, Card, find_model, is_unfinished, shipped_models
from ..model.encoder import ENCODER_CARD, Encoder

_OURS = ("_fraction", "_concentration")  # how the columns of votes end, if they do not begin with p_
_SHOWN = ("validation_loss", "accuracy", "balanced_accuracy", "rmse")  # of a model's measures, those worth a line


def info(path: str | Path) -> dict[str, Any]:
    """Describe a path as a flat dictionary, ``{"kind": "store", "galaxies": 5649, ...}``.

    Tried in turn: a model or run folder (holds a card), an encoder that models share, an unfinished run, votes (ours,
    or a table with columns p_* or *_fraction), a catalogue file, a folder of runs and stores, a source of galaxies,
    whose first galaxy is decoded. Raises the last one's error where the path is none of them.
    """
    folder = Path(path)
    try:
        return _model(find_model(path))
    except BadWeights:
        if (folder / "card.json").exists() or (folder / "model" / "card.json").exists():
            raise
    if (folder / ENCODER_CARD).is_file():
        return _encoder(folder)
    if is_unfinished(folder):
        return _unfinished(folder)
    if folder.is_file():
        for describe in (_votes, _catalog):
            try:
                return describe(folder)
            except (BadVotes, BadCatalog):
                continue
    return _folder(folder) or _source(str(path))


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
        "size": _size(folder),
        "epochs": len(card.history),
        "validation": ", ".join(f"{k} {v:.4g}" for k, v in card.metrics.get("validation", {}).items() if k in _SHOWN),
        **_told(card),
        "digest": card.digest,
    }


def _told(card: Card) -> dict[str, Any]:
    """What a card tells beyond the network, where it tells of it: texts, and lists of them."""
    galaxies = card.training.get("galaxies")
    counts = ", ".join(f"{part} {n:,}" for part, n in galaxies.items()) if isinstance(galaxies, dict) else ""
    entries: dict[str, Any] = {
        "encoder": f"'{card.encoder}', shared" if card.encoder else "",
        "trained on": "; ".join(filter(None, [str(card.training.get("on", "")), counts])),
        "measured": [_figure(entry) for entry in card.measured],
        "measured by": sorted({str(entry["command"]) for entry in card.measured if entry.get("command")}),
        "fails": list(card.fails),
        "rates": _rates(card),
        "licence": card.licence,
        "citation": card.citation,
        "notes": card.notes,
    }
    return {key: value for key, value in entries.items() if value}


def _rates(card: Card) -> str:
    """How frequent the classes are taken to be in words, and by whom."""
    if not card.rates:
        return ""
    shares = ", ".join(f"{name} {share:g}" for name, share in card.rates["shares"].items())
    return f"{shares} ({card.rates['source']})"


def _figure(entry: dict[str, Any]) -> str:
    """One measured figure as a line: "accuracy 0.91 (0.90 to 0.92, 95%) on the test part; galaxies 512"."""
    bounds = [f"{entry['low']:.4g} to {entry['high']:.4g}"] if "low" in entry else []
    level = [f"{entry['level']:.0%}"] if isinstance(entry.get("level"), float) else []
    inside = f" ({', '.join(bounds + level)})" if bounds else ""
    said = ("what", "value", "low", "high", "level", "on", "command")
    more = "".join(f"; {key} {value}" for key, value in entry.items() if key not in said)
    return f"{entry['what']} {entry['value']:.4g}{inside} on {entry['on']}{more}"


def _encoder(folder: Path) -> dict[str, Any]:
    encoder = Encoder.load(folder)
    models = sorted(folder.absolute().parent.glob(f"*/{CARD}"))
    return {
        "kind": "encoder",
        "path": str(folder),
        "shared by": _listed([one.parent.name for one in models if Card.load(one.parent).encoder == folder.name]),
        "bands": ",".join(encoder.bands),
        "input": f"{encoder.size} px",
        "backbone": encoder.backbone,
        "features": encoder.n_features,
        "parameters": encoder.parameters,
        "size": _size(folder),
        "digest": encoder.digest,
    }


def _unfinished(folder: Path) -> dict[str, Any]:
    row = {"kind": "unfinished run", "path": str(folder), "progress": _progress(folder)}
    if (folder / "run.json").is_file():  # train takes such a run for done
        return row | {"next": f"its model/ is gone: remove '{folder / 'run.json'}' and run train again"}
    return row | {"next": "run train again: the same command goes on"}


def _progress(folder: Path) -> str:
    """How far a run is by its newest state, "unknown" where that cannot be read."""
    state = folder / "state"
    if not (state / "latest.json").is_file():
        return "no state is stored yet"
    try:
        progress = disk.read_json(state / f"{disk.read_json(state / 'latest.json')['name']}.json")["progress"]
        done, step = len(progress["history"]), int(progress["step"])
    except (TuningforkError, KeyError, TypeError, ValueError) as error:
        return f"unknown ({error})"
    try:
        whole = f" of {tomllib.loads((folder / 'recipe.toml').read_text())['train']['epochs']}"
    except (OSError, ValueError, KeyError, TypeError):
        whole = ""
    return f"{done}{whole} epochs, {step} steps"


def _folder(folder: Path) -> dict[str, Any] | None:
    """A folder of runs and stores, looked at one level deep; None where it holds neither, or is a store itself."""
    if not folder.is_dir() or (folder / MANIFEST).exists() or (folder / PLAN).exists():
        return None
    found: dict[str, list[str]] = {"runs": [], "unfinished": [], "stores": []}
    for one in sorted(place for place in folder.iterdir() if place.is_dir() and not place.name.startswith(".")):
        if any((place / "card.json").is_file() for place in (one, one / "model")):
            found["runs"].append(one.name)
        elif is_unfinished(one):
            found["unfinished"].append(one.name)
        elif (one / MANIFEST).exists():
            found["stores"].append(one.name)
    runs, stores = len(found["runs"]) + len(found["unfinished"]), len(found["stores"])
    if not runs + stores:
        return None
    many = [f"{n} {what}{'s' * (n > 1)}" for n, what in ((runs, "run"), (stores, "store")) if n]
    lines = {key: _listed(names) for key, names in found.items() if names}
    return {"kind": f"folder of {' and '.join(many)}", "path": str(folder), **lines}


def _listed(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def _votes(path: Path) -> dict[str, Any]:
    votes = Votes.read(path)
    if not votes.metadata.get("format") and not any(
        name.startswith("p_") or name.endswith(_OURS) for name in _columns(path)
    ):
        raise BadVotes(f"'{path}' has labels, not predictions")  # a bare column of classes, say
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


def _columns(path: Path) -> list[str]:
    return list(Catalog.read(path).columns)


def _catalog(path: Path) -> dict[str, Any]:
    catalog = Catalog.read(path)
    return {"kind": "catalogue", "path": str(path), "rows": len(catalog), "columns": _listed(catalog.columns)}


def _source(path: str) -> dict[str, Any]:
    source = open_source(path)
    columns = source.catalog.columns if source.catalog else []
    facts = {
        "kind": source.kind,
        "path": path,
        "galaxies": len(source),
        "bands": ",".join(source.bands) if source.bands else "not known before decoding",
        "pixel_scale": f"{source.pixel_scale:g} arcsec" if source.pixel_scale else "unknown",
        "catalogue": _listed(columns) or "none",
        "digest": source.digest,
    }
    if source.catalog is not None and "class" in columns:
        counts = Counter(str(one) for one in source.catalog["class"] if one is not None)
        facts["classes"] = _listed([f"{name} {number:,}" for name, number in counts.most_common()])
    return facts | _first(source)


def _first(source: Source) -> dict[str, Any]:
    """The first galaxy, decoded: its size and bands, or the reason why it is rejected; nothing of an empty store."""
    if not len(source):
        return {}
    one = source.kind == "one image"
    try:
        cutout = source.record(source.ids[0]).cutout()
    except BadImage as error:
        return {"rejected": str(error)} if one else {"first_galaxy": f"rejected: {error}"}
    _, height, width = cutout.pixels.shape
    size, bands = f"{width} x {height} px", ",".join(cutout.bands)
    return {"size": size, "bands": bands} if one else {"first_galaxy": f"{size}, {bands}"}


def list_models(folder: str | Path = ".") -> list[dict[str, Any]]:
    """The models under ``folder``, three levels deep: name, head, bands, input, path; a broken one says why."""
    found = (card for depth in ("", "*/", "*/*/", "*/*/*/") for card in sorted(Path(folder).glob(f"{depth}{CARD}")))
    return [_row(card.parent) for card in found]


def _row(folder: Path) -> dict[str, Any]:
    try:
        one = _model(folder)
    except TuningforkError as error:
        return {"name": folder.name, "broken": str(error), "path": str(folder)}
    return {key: one[key] for key in ("name", "head", "bands", "input", "backbone", "path")}


def list_shipped(folders: Mapping[str, Path] | None = None) -> list[dict[str, Any]]:
    """Models by name, by default those inside the package, as a line each: answers, input, size, their first figure.

    "size" is of the model's own folder; the encoder that it shares has a folder and a size of its own (:func:`info`).
    """
    rows = []
    for name, folder in (shipped_models() if folders is None else folders).items():
        row = {key: value for key, value in _row(folder).items() if key != "path"} | {"name": name}
        if "broken" not in row:
            card = Card.load(folder)
            row["answers"], row["size"] = _listed(card.names, 5), _size(folder)
            row |= {"measured": _figure(card.measured[0])} if card.measured else {}
        rows.append(row)
    return rows


def _size(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e6:.1f} MB"


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
