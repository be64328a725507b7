"""Colour: the axes of training and of perturbation are the same, and no shift is no change."""

import numpy as np
import torch

from tuningfork.data.augment import principal_components
from tuningfork.data.colour import principal_axes, recoloured


def pictures(n: int = 20, bands: int = 3) -> np.ndarray:
    rng = np.random.default_rng(3)
    shared = rng.normal(0, 30, (n, 1, 12, 12))
    return (120 + shared * np.array([1.0, 0.8, 0.5])[:bands, None, None] + rng.normal(0, 5, (n, bands, 12, 12))).astype(
        np.uint8
    )


def test_the_axes_are_those_by_which_training_perturbs() -> None:
    images = pictures()
    torch.testing.assert_close(torch.from_numpy(principal_axes(images)).float(), principal_components(images))


def test_axes_are_orthogonal_brighten_and_hold_all_the_variance() -> None:
    images = pictures()
    axes = principal_axes(images)
    lengths = (axes**2).sum(axis=1)
    np.testing.assert_allclose(axes @ axes.T, np.diag(lengths), atol=1e-12)
    np.testing.assert_allclose(lengths.sum(), (images / 255.0).var(axis=(0, 2, 3)).sum())
    assert (np.diff(lengths) >= 0).all() and (axes.sum(axis=1) >= 0).all()
    assert axes[-1, 0] > axes[-1, 1] > axes[-1, 2] > 0  # as the pictures were made
    np.testing.assert_allclose(principal_axes(pictures(bands=1)).ravel(), (pictures(bands=1) / 255.0).std())
    np.testing.assert_allclose(principal_axes(np.full((2, 3, 8, 8), 7, np.uint8)), 0, atol=1e-12)


def test_shifts_are_exact_cut_and_nothing_at_zero() -> None:
    images = pictures(4)
    axis = np.array([0.2, 0.1, 0.0])
    shifted = recoloured(images, axis, np.array([0.0, 1.0, -1.0, 9.0]))
    np.testing.assert_array_equal(shifted[0], images[0])
    np.testing.assert_array_equal(shifted[1, 0], np.minimum(images[1, 0].astype(int) + 51, 255))
    np.testing.assert_array_equal(shifted[2, 0], np.maximum(images[2, 0].astype(int) - 51, 0))
    assert (shifted[3, 0] == 255).all()
    np.testing.assert_array_equal(shifted[:, 2], images[:, 2])
