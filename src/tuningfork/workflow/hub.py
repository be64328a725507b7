"""Models go to a repository on huggingface.co and come from one, proved before they leave and before they arrive."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import disk
from ..errors import BadWeights, RecipeError
from ..model.card import CARD, GOLDEN, ONNX, WEIGHTS, Card, find_model
from ..model.encoder import ENCODER_CARD, ENCODER_ONNX, ENCODER_WEIGHTS, STRANGENESS, find_encoder, find_strangeness
from ..predict.engine import open_engines
from ..published.hub import download, upload
from .info import info

_MODEL = (GOLDEN, WEIGHTS, ONNX, CARD)  # the card last, so that a folder with a card is whole
_ENCODER = (STRANGENESS, ENCODER_WEIGHTS, ENCODER_ONNX, ENCODER_CARD)  # the first where it is known


@dataclass(frozen=True)
class Exchanged:
    """What went to a repository, or came from one."""

    repository: str
    revision: str  # the commit, 40 hexadecimal digits
    models: tuple[str, ...]
    paths: tuple[str, ...]  # of their folders here
    bytes: int

    def __str__(self) -> str:
        """One line for people."""
        what = ", ".join(self.models)
        return f"{what} ({self.bytes / 1e6:.1f} MB): {self.repository} at {self.revision[:12]}"


def push(
    models: str | Path | Sequence[str | Path], repository: str, *, public: bool = False, url: str | None = None
) -> Exchanged:
    """Send models (folders, runs or names), each with the encoder that it shares, to a repository "owner/name".

    Each is proved first. A model's folder there has its card's name. The page of the repository is made
    of the cards. A new repository is private unless ``public``. Raises :class:`RecipeError` where two models have one
    name, or it cannot name a folder, :class:`BadWeights` on a model that is broken, and what
    :func:`~tuningfork.published.hub.upload` raises.
    """
    folders = [find_model(one) for one in ([models] if isinstance(models, (str, Path)) else models)]
    named: dict[str, Path] = {}
    files: dict[str, Path] = {}
    for folder in folders:
        name = Card.load(folder).name
        if not disk.is_plain(name) or name in named:
            raise RecipeError(
                f"'{folder}' is called '{name}', which is taken or cannot name a folder; set 'name' in its {CARD}"
            )
        named[name] = folder
        files |= {f"{name}/{one}": folder / one for one in _MODEL}
        if (found := find_encoder(folder)) is not None:
            known = _ENCODER if found[1].strangeness_digest else _ENCODER[1:]
            parts = {f"{found[0].name}/{one}": found[0] / one for one in known}
            if any(files.get(key, path) != path for key, path in parts.items()) or found[0].name in named:
                raise RecipeError(f"two folders are called '{found[0].name}': push these models to two repositories")
            files |= parts
    _prove(list(named.values()))
    revision = upload(
        files, _page(named, repository), repository, private=not public, message=f"models {', '.join(named)}", url=url
    )
    size = sum(path.stat().st_size for path in files.values())
    return Exchanged(repository, revision, tuple(named), tuple(str(one) for one in named.values()), size)


def pull(
    repository: str, out: str | Path, *, revision: str = "main", replace: bool = False, url: str | None = None
) -> Exchanged:
    """Bring the models of a repository to ``out``/NAME each, with the encoders that they share.

    They are run on their golden pairs before they get their names, so that what arrives is whole and has the cards
    that it was made with. Files of tuningfork's models alone are taken, and nothing in them is executed. Raises
    :class:`BadWeights` where one is broken, :class:`RecipeError` where a folder of a name is there already (unless
    ``replace``), and what :func:`~tuningfork.published.hub.download` raises.
    """
    out = disk.make_folder(out)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=out) as staged:
        commit, names = download(repository, staged, revision=revision, url=url)
        models = [name.split("/")[0] for name in names if name.endswith(f"/{CARD}")]
        if not models:
            raise BadWeights(f"'{repository}' holds no model: no FOLDER/{CARD}")
        encoders = {Card.load(Path(staged) / model).encoder for model in models} - {""}
        places = [*sorted(encoders), *models]
        if not replace and (there := [one for one in places if (out / one).exists()]):
            raise RecipeError(f"'{out}' holds {', '.join(there)} already: name another folder, or replace them")
        _prove([Path(staged) / model for model in models])
        size = 0
        for name in (f"{place}/{one}" for place in places for one in (*_ENCODER, *_MODEL)):
            if name in names:
                data = (Path(staged) / name).read_bytes()
                disk.make_folder((out / name).parent)
                disk.write_bytes(out / name, data)
                size += len(data)
    return Exchanged(repository, commit, tuple(models), tuple(str(out / model) for model in models), size)


def _prove(folders: Sequence[Path]) -> None:
    """Raise :class:`BadWeights` unless each model repeats its golden pair, and holds the weights of its card.

    What training would start from is proved by its digest alone, since reading it takes torch.
    """
    open_engines(folders, "onnxruntime")
    for folder in folders:
        found = find_encoder(folder)
        find_strangeness(folder)
        digests = {folder / WEIGHTS: Card.load(folder).digest}
        digests |= {found[0] / ENCODER_WEIGHTS: found[1].digest} if found else {}
        for path, digest in digests.items():
            if not path.is_file() or disk.sha256(path) != digest:
                raise BadWeights(
                    f"'{path}' is not the file that its card tells of: it is absent, or its SHA-256 differs"
                )


def _page(models: dict[str, Path], repository: str) -> str:
    """The repository's page: how to use the models, and each one's card as text."""
    licences = sorted({card.licence.lower() for card in map(Card.load, models.values()) if card.licence})
    licence = licences[0] if len(licences) == 1 and disk.is_plain(licences[0]) else "other"
    lines = [
        *("---", f"license: {licence}", "library_name: tuningfork", "pipeline_tag: image-classification"),
        *("tags: [astronomy, galaxy-morphology]", "---", "", "# Galaxy morphology models", "", "```"),
        *("pip install 'tuningfork[hub]'", f"tuningfork pull {repository} models"),
        *(f"tuningfork predict PICTURES --model models/{name} --out votes.parquet" for name in models),
        "```",
    ]
    for name, folder in models.items():
        lines += ["", f"## {name}", ""]
        for key, value in info(folder).items():
            if key in ("kind", "path") or not value:
                continue
            one = not isinstance(value, list)
            lines += [f"- {key}: {value}"] if one else [f"- {key}:", *(f"  - {entry}" for entry in value)]
    return "\n".join(lines) + "\n"
