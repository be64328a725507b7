"""Random views of galaxies, a whole batch at a time on the device that trains: one affine map, blur, colour, noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import RecipeError
from .colour import principal_axes


@dataclass(frozen=True)
class Augment:
    """How training views vary; a ``*_chance`` is the probability that its change is made to a galaxy at all."""

    rotate: bool = True  # turn about the centre
    rotate_step: float = 0.0  # degrees: turn by multiples of this only (90 keeps pixels as they are); 0 = any angle
    rotate_chance: float = 1.0
    flip: bool = True  # mirror left-right and up-down, each by its own coin; makes clockwise spirals anticlockwise
    flip_chance: float = 0.5
    transpose: bool = False  # swap rows and columns (also a mirror)
    transpose_chance: float = 0.5
    shift: float = 2.0  # at most so many px of the network's input, along x and along y; 0 = off
    shift_chance: float = 1.0
    zoom: float = 1.1  # factor between 1 / zoom and zoom, log-uniform; 1 = off
    zoom_chance: float = 1.0
    crop: float = 0.0  # cut away up to this share of the side, at random on either side, and enlarge the rest; 0 = off
    crop_chance: float = 1.0
    blur: float = 0.0  # a Gaussian point spread of sigma up to so many px; 0 = off
    blur_chance: float = 1.0
    colour: float = 0.0  # standard deviation along the principal components of the training pixels, in theirs; 0 = off
    colour_chance: float = 1.0
    noise: float = 0.0  # Gaussian noise of standard deviation up to this, where 1 is white; 0 = off
    noise_chance: float = 1.0

    @property
    def moves(self) -> bool:
        """Whether any change of geometry is on."""
        return self.rotate or self.flip or self.transpose or self.shift > 0 or self.zoom != 1 or self.crop > 0

    @property
    def mirrors(self) -> bool:
        """Whether the sense of a spiral can be turned round."""
        return (self.flip and self.flip_chance > 0) or (self.transpose and self.transpose_chance > 0)


OFF = Augment(rotate=False, flip=False, shift=0.0, zoom=1.0)


def check(choice: Augment) -> None:
    """Raise :class:`RecipeError`, naming the key, for a choice that cannot be."""
    for key, value in vars(choice).items():
        if key.endswith("_chance") and not 0 <= value <= 1:
            raise RecipeError(f"augment.{key} is {value}; a probability lies between 0 and 1")
        if key in ("rotate_step", "shift", "blur", "colour", "noise") and not 0 <= value < math.inf:
            raise RecipeError(f"augment.{key} is {value}; it must be 0 (off) or more")
    if not 1 <= choice.zoom <= 4:
        raise RecipeError(f"augment.zoom is {choice.zoom}; it is a factor between 1 (off) and 4")
    if not 0 <= choice.crop < 1:
        raise RecipeError(f"augment.crop is {choice.crop}; it is a share of the side, between 0 (off) and 1 (excluded)")


def margin(choice: Augment, size: int) -> int:
    """How many pixels to render beyond each side of a ``size`` px input, so that no view looks past the rendered edge.

    The farthest sky that a corner of the input can show lies size / 2 * zoom (times sqrt 2 if turned by other than
    multiples of 90 degrees) + shift from the centre, along one axis; half a pixel more feeds the interpolation. 0 if
    views only mirror, turn by 90 degrees or cut.
    """
    diagonal = choice.rotate and (choice.rotate_step == 0 or choice.rotate_step % 90 != 0)
    reach = size / 2 * choice.zoom * (math.sqrt(2) if diagonal else 1) + choice.shift
    return 0 if reach <= size / 2 else math.ceil(reach - size / 2 + 0.5)


def principal_components(pixels: NDArray[np.uint8], limit: int = 2_000_000) -> Tensor:
    """:func:`~tuningfork.data.colour.principal_axes` of ``pixels`` (N, C, M, M) as a (C, C) float32 tensor."""
    return torch.from_numpy(principal_axes(pixels, limit).astype(np.float32))


def augment(
    batch: Tensor, choice: Augment, size: int, generator: torch.Generator, colours: Tensor | None = None
) -> Tensor:
    """One random view of every galaxy of ``batch``: uint8 (N, C, M, M) to float32 (N, C, size, size) in [0, 1].

    Turn, mirror, transpose, zoom, crop and shift are one affine map and one bilinear sampling; outside the rendered M
    px (only reached where M is less than ``size`` + 2 :func:`margin`) the border pixel continues, because a black
    frame would show the angle. Then point spread, colour, noise, and a clip to [0, 1]. With everything off the result
    is exactly the central ``size`` px. All chance comes from ``generator`` (a CPU generator), so that equal seeds give
    equal views. ``colours``: :func:`principal_components`, needed if ``colour`` is on.
    """
    images = _move(batch, choice, size, generator) if choice.moves else centre(batch, size)  # (N, C, S, S)
    if choice.blur > 0:
        images = _blur(images, choice.blur * _drawn(batch, choice.blur_chance, generator))
    if choice.colour > 0:
        if colours is None:
            raise RecipeError("augment.colour needs the principal components of the training pixels: pass colours=")
        strength = torch.randn(len(batch), len(colours), generator=generator) * choice.colour  # (N, C) along each axis
        strength = strength * (torch.rand(len(batch), 1, generator=generator) < choice.colour_chance)
        images = images + (strength @ colours.cpu()).to(images.device)[:, :, None, None]
    if choice.noise > 0:
        images = _noise(images, choice.noise * _drawn(batch, choice.noise_chance, generator), generator)
    return images.clamp_(0, 1)


def centre(batch: Tensor, size: int) -> Tensor:
    """The central ``size`` px of a uint8 batch (N, C, M, M) as float32 in [0, 1]: what validation and predict see."""
    cut = (batch.shape[-1] - size) // 2
    if cut < 0 or (batch.shape[-1] - size) % 2 or batch.shape[-1] != batch.shape[-2]:
        raise RecipeError(f"a batch of {tuple(batch.shape)} has no central {size} x {size} px")
    return batch[..., cut : cut + size, cut : cut + size].float() / 255


def _drawn(batch: Tensor, chance: float, generator: torch.Generator) -> Tensor:
    """Uniform in [0, 1) for the galaxies that chance picks, 0 for the others: (N,)."""
    n = len(batch)
    return torch.rand(n, generator=generator) * (torch.rand(n, generator=generator) < chance)


def _move(batch: Tensor, choice: Augment, size: int, generator: torch.Generator) -> Tensor:
    linear, offset = affine(len(batch), choice, size, generator)
    side = batch.shape[-1]
    theta = torch.cat([linear * (size / side), offset[:, :, None] * (2 / side)], dim=2).to(batch.device)  # (N, 2, 3)
    grid = F.affine_grid(theta, [len(batch), 1, size, size], align_corners=False)  # (N, S, S, 2)
    images = F.grid_sample(batch.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return images.mul_(1 / 255)


def mirrored_views(n: int, choice: Augment, size: int, generator: torch.Generator) -> Tensor:
    """Which of the ``n`` views that come next show their galaxy mirrored, bool (n,); the generator stays as it is."""
    linear, _ = affine(n, choice, size, torch.Generator().set_state(generator.get_state()))
    return torch.det(linear) < 0


def affine(n: int, choice: Augment, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The map from a px of the view to a px of the rendered galaxy, both counted (x, y) from their centres.

    Returns the (n, 2, 2) linear part and the (n, 2) offset in px of the input. The same numbers are drawn whichever
    changes are on, so that switching one on leaves the others as they were.
    """
    u = torch.rand(n, 16, generator=generator, dtype=torch.float64)
    chances = [choice.rotate_chance, choice.flip_chance, choice.flip_chance, choice.transpose_chance]
    chances += [choice.shift_chance, choice.zoom_chance, choice.crop_chance, 0.0]
    happens = u[:, 8:] < torch.tensor(chances)
    turns = u[:, 0] * 360
    if choice.rotate_step > 0:
        turns = torch.floor(u[:, 0] * (360 / choice.rotate_step)) * choice.rotate_step
    angle = torch.deg2rad(turns * happens[:, 0] * choice.rotate)
    cos, sin = torch.cos(angle), torch.sin(angle)
    linear = torch.stack([cos, -sin, sin, cos], dim=1).view(n, 2, 2)
    mirror = 1 - 2.0 * happens[:, 1:3] * choice.flip
    linear = linear * mirror[:, None, :]
    swap = happens[:, 3] & choice.transpose
    linear = torch.where(swap[:, None, None], linear.flip(2), linear)
    zoom = choice.zoom ** ((2 * u[:, 1] - 1) * happens[:, 5])
    kept = 1 - choice.crop * u[:, 2] * happens[:, 6]
    offset = choice.shift * (2 * u[:, 3:5] - 1) * happens[:, 4:5]
    offset = offset + (1 - kept)[:, None] * size / 2 * (2 * u[:, 5:7] - 1)
    return (linear * (kept / zoom)[:, None, None]).float(), offset.float()


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Convolve each galaxy with a Gaussian of its own ``sigma`` (N,) px: two matrix products, A x A^T.

    A (S, S) holds exp(-(i - j)^2 / 2 sigma^2) with rows that sum to 1, so that a flat sky stays flat up to the edge.
    """
    rows = torch.arange(images.shape[-1], dtype=torch.float32)
    distance = (rows[:, None] - rows[None, :]) ** 2  # (S, S)
    matrix = torch.exp(-distance / (2 * sigma.clamp(min=1e-3) ** 2)[:, None, None])
    matrix = (matrix / matrix.sum(dim=2, keepdim=True)).to(images.device)[:, None]  # (N, 1, S, S)
    return matrix @ images @ matrix.transpose(2, 3)


def _noise(images: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    if images.device.type != "cpu":  # a generator of the device, itself seeded by ours
        seed = int(torch.randint(2**62, (), generator=generator))
        generator = torch.Generator(images.device).manual_seed(seed)
    grains = torch.randn(images.shape, generator=generator, device=images.device)
    return images + grains * strength.to(images.device)[:, None, None, None]
