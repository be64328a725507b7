"""The encoder that several models share: all of their network but the last layer, in a folder beside theirs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .. import disk
from ..errors import BadWeights
from .card import Card, arrays_as_bytes, load_arrays
from .entries import as_json, entries, load_card

ENCODER_CARD, ENCODER_WEIGHTS, ENCODER_ONNX = "encoder.json", "encoder.safetensors", "encoder.onnx"
STRANGENESS = "strangeness.safetensors"  # what ordinary galaxies look like to the encoder, where that is known
STRANGENESS_ARRAYS = ("mean", "scale", "axes", "factor", "centres", "rest", "ordinary")  # evaluate.strangeness's

_FORMAT = 1
_LARGEST_CARD = 1_000_000  # bytes
_LARGEST_STRANGENESS = 64_000_000  # bytes; of 1280 features 0.1 MB
_LATER = ("strangeness_digest",)  # keys that cards may lack, as older ones do


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
    strangeness_digest: str = ""  # SHA-256 of strangeness.safetensors, "" without
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

        def make(value: Any) -> Encoder:
            return cls(**entries(cls, value, _FORMAT, _LATER))

        return load_card(Path(folder) / ENCODER_CARD, make, _LARGEST_CARD, "it is no encoder")


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


def save_strangeness(folder: str | Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write what ordinary galaxies look like to the encoder in ``folder``, and enter its digest in the card.

    ``arrays`` are those of :class:`~tuningfork.evaluate.strangeness.Strangeness`; others raise :class:`BadWeights`.
    """
    if {*arrays} != {*STRANGENESS_ARRAYS}:
        raise BadWeights(f"a strangeness has the arrays {', '.join(STRANGENESS_ARRAYS)}, not {', '.join(arrays)}")
    encoder, data = Encoder.load(folder), arrays_as_bytes(arrays)
    if arrays["mean"].shape != (encoder.n_features,):
        raise BadWeights(
            f"a strangeness of {arrays['mean'].shape[0]} features is not of the encoder in '{folder}', which has "
            f"{encoder.n_features}"
        )
    disk.write_bytes(Path(folder) / STRANGENESS, data)
    replace(encoder, strangeness_digest=disk.sha256(data)).save(folder)


def find_strangeness(folder: str | Path) -> dict[str, NDArray[Any]] | None:
    """The arrays of the strangeness of a model's encoder, proved by its digest; None where there are none.

    Raises :class:`BadWeights` where the file is absent, or not the one that the encoder's card tells of.
    """
    found = find_encoder(folder)
    if found is None or not found[1].strangeness_digest:
        return None
    path = found[0] / STRANGENESS
    arrays, _ = load_arrays(path, STRANGENESS_ARRAYS, _LARGEST_STRANGENESS, "the strangeness")
    if disk.sha256(path) != found[1].strangeness_digest:
        raise BadWeights(
            f"'{path}' is not the file that its card tells of (SHA-256 differs): take the folder whole from where it "
            "came"
        )
    return arrays
