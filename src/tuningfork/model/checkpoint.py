"""A checkpoint as PyTorch saves it becomes safetensors, read as tensors alone and under a backbone's own names."""

from __future__ import annotations

import io

import safetensors.torch
import torch
from torch import Tensor

from ..errors import BadWeights
from .backbone import make_backbone

SIDE = 224  # px, of the pictures of ImageNet
_LAST = "classifier"  # how what follows the backbone in a checkpoint, its own last layer, is called


def as_safetensors(checkpoint: bytes, backbone: str) -> bytes:
    """A checkpoint of the network ``backbone`` (three bands) by another program, as safetensors with our names.

    Programs that build one network layer by layer have the same tensors in the same order under other names: the k-th
    takes the name of the backbone's k-th, and must have its shape and the last word of its name ("weight",
    "running_mean"). What follows in the checkpoint are at most the two tensors of its own last layer. Only tensors are
    read (``weights_only``): a checkpoint that would run code is refused. Raises :class:`BadWeights`.
    """
    try:
        state = torch.load(io.BytesIO(checkpoint), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever broken bytes make torch raise
        raise BadWeights(f"a checkpoint for '{backbone}' cannot be read as tensors: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(one, Tensor) for one in state.values()):
        raise BadWeights(f"a checkpoint for '{backbone}' holds other things than tensors by name")
    ours, theirs = make_backbone(backbone, 3, SIDE).state_dict(), list(state.items())
    names = [*ours, *(f"{_LAST}.{name.rpartition('.')[2]}" for name, _ in theirs[len(ours) :])]
    if len(theirs) < len(ours) or len(theirs) > len(ours) + 2:
        raise BadWeights(f"a checkpoint for '{backbone}' holds {len(theirs)} tensors, the network {len(ours)}")
    for (name, value), (called, given) in zip(ours.items(), theirs, strict=False):
        if value.shape != given.shape or name.rpartition(".")[2] != called.rpartition(".")[2]:
            raise BadWeights(
                f"a checkpoint is of another network than '{backbone}': its {called} {tuple(given.shape)} stands where "
                f"{name} {tuple(value.shape)} belongs"
            )
    return safetensors.torch.save({name: one.contiguous() for name, (_, one) in zip(names, theirs, strict=True)})
