"""Drawn galaxies."""

import numpy as np


def disc(seed: int, side: int) -> np.ndarray:
    """A tilted disc with noise, (side, side, 3) uint8: its angle and its noise are the seed's."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    angle = rng.uniform(0, np.pi)
    flux = np.exp(-np.hypot(x * np.cos(angle) + y * np.sin(angle), 2 * (y * np.cos(angle) - x * np.sin(angle))) / 5)
    noisy = 220 * flux[..., None] * [1, 0.8, 0.6] + rng.normal(10, 3, (side, side, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)
