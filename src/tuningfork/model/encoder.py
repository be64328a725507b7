"""The encoder that several models share: all of their network but the last layer, in a folder beside theirs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import disk
from ..errors import BadWeights, DiskError
from .card import Card
from .entries import as_json, entries

ENCODER_CARD, ENCODER_WEIGHTS, ENCODER_ONNX = "encoder.json", "encoder.safetensors", "encoder.onnx"

_FORMAT = 1
_LARGEST_CARD = 1_000_000  # bytes


@dataclass(frozen=True)
class Encoder:
    """The card of an encoder: from uint8 pictures (N, bands, size, size) to features float32 (N, n_features).

    How a galaxy becomes such a picture, and what is read off the features, stand in the cards of the models that
    share it. The weights are named as in a model: "backbone.*", "mean" and "std".
    """

    name: str  # of the folder
    backbone: str  # a key of backbone.BACKBONES
    bands: tuple[str, ...]  # in the order of the network's channels
    size: int  # side of the square input, px
    n_features: int
    parameters: int  # number of trained weights, the last layer apart
    precision: str  # in which matrices and filters are stored: "float32" or "float16"
    digest: str  # SHA-256 of encoder.safetensors
    onnx_digest: str = ""  # SHA-256 of encoder.onnx, "" before the export
    tuningfork: str = ""  # version of the package that made it
    format: int = _FORMAT  # of this card

    def save(self, folder: str | Path) -> None:
        """Write the card to ``folder``/encoder.json."""
        disk.write_json(Path(folder) / ENCODER_CARD, self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The card as JSON holds it."""
        return as_json(self)

    @classmethod
    def load(cls, folder: str | Path) -> Encoder:
        """The card of an encoder's folder; raises :class:`BadWeights` where it is absent, broken or of other types."""
        path = Path(folder) / ENCODER_CARD
        try:
            if path.stat().st_size > _LARGEST_CARD:
                raise BadWeights(f"'{path}' has {path.stat().st_size} bytes: no card is that large")
            return cls(**entries(cls, disk.read_json(path), _FORMAT))
        except FileNotFoundError as error:
            raise BadWeights(f"'{folder}' holds no {ENCODER_CARD}: it is no encoder") from error
        except (DiskError, OSError, RecursionError) as error:
            raise BadWeights(f"the encoder's card '{path}' cannot be read: {error}") from error
        except BadWeights as error:
            raise BadWeights(f"'{path}': {error}") from error


def encoder_folder(folder: str | Path) -> Path | None:
    """The folder of a model's encoder, beside the model's, whether it is there or not; None for a model without."""
    card = Card.load(folder)
    return Path(os.path.abspath(folder)).parent / card.encoder if card.encoder else None


def find_encoder(folder: str | Path) -> tuple[Path, Encoder] | None:
    """The folder and card of a model's encoder, proved to be the one it was made with; None for a model without.

    Raises :class:`BadWeights` where it is absent, or is another network than the model's card tells of.
    """
    place, card = encoder_folder(folder), Card.load(folder)
    if place is None:
        return None
    if not place.is_dir():
        raise BadWeights(
            f"'{folder}' is a last layer on the encoder '{card.encoder}', which is not beside it ('{place}'): take "
            "both folders from where they came"
        )
    encoder = Encoder.load(place)
    wanted = {
        "backbone": card.backbone,
        "bands": card.bands,
        "size": card.size,
        "precision": card.precision,
        "digest": card.encoder_digest,
    }
    for key, value in wanted.items():
        if getattr(encoder, key) != value:
            raise BadWeights(
                f"'{folder}' was made on another encoder than '{place}': {key} is {value} there, "
                f"{getattr(encoder, key)} here; take both folders from where they came"
            )
    return place, encoder


def find_encoder_onnx(folder: str | Path) -> Path | None:
    """The exported encoder of a model, proved by its digest; None for a model without; raises :class:`BadWeights`."""
    found = find_encoder(folder)
    if found is None:
        return None
    path = found[0] / ENCODER_ONNX
    if not path.is_file():
        raise BadWeights(
            f"'{found[0]}' holds no {ENCODER_ONNX}: export it (tuningfork.model.export.export_onnx of '{folder}'), or "
            "use engine 'torch'"
        )
    if disk.sha256(path) != found[1].onnx_digest:
        raise BadWeights(f"'{path}' is not the file that its card tells of (SHA-256 differs): export the weights again")
    return path
