"""Features: what a trained network's backbone sees in galaxies, frozen, as rows of numbers for a classifier."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingExtra

Progress = Callable[[int, int, str], None]


def network_features(
    folder: str | Path, images: NDArray[np.uint8], *, batch: int = 64, progress: Progress | None = None
) -> NDArray[np.float32]:
    """The last features, before the head, of pictures uint8 (N, bands, size, size): float32 (N, n_features).

    The model folder is loaded strictly and proves itself on its golden pair; dropout is off. Raises
    :class:`MissingExtra` without torch, and what :func:`tuningfork.model.weights.load` raises.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtra(str(error.name), "train") from error
    from ..model.weights import load

    net, _ = load(folder)
    found = np.empty((len(images), int(net.backbone.n_features)), np.float32)  # type: ignore[arg-type]
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            some = torch.from_numpy(np.ascontiguousarray(images[start : start + batch])).float() / 255.0
            found[start : start + batch] = net.features(some).numpy()
            if progress is not None:
                progress(min(start + batch, len(images)), len(images), "features of the network")
    return found
