"""Feature visualisation: the picture, found from noise, that excites a unit, a layer or an answer most."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ..data.colour import principal_axes
from ..errors import RecipeError
from ..evaluate.plots import STYLE
from ..galaxy.cutout import Cutout
from ..galaxy.display import to_picture
from ..model.net import GalaxyNet
from .layers import Layer, still
from .objective import Objective, check_objectives, check_pictures, excitation, excitations, layer_outputs

Pictures = NDArray[np.uint8]
_TOGETHER = 16  # pictures found in one batch
_LEAST = 0.01  # the shortest colour axis, in lengths of the longest: grey pictures have but one


@dataclass(frozen=True, eq=False)
class Colour:
    """How the bands of galaxies vary together, by which colours are decorrelated.

    ``mean`` (C,) of the bands in 0..1; ``axes`` (C, C) whose rows are the principal axes of their covariance, each as
    long as the standard deviation along it. A coordinate z (C) stands for the colour

        x = sigmoid(logit(mean) + z axes / (mean (1 - mean))),

    which for small z is mean + z axes: z of unit covariance gives the covariance of the galaxies. So a step in z goes
    along the colours that galaxies have more than along others (Olah et al. 2017, "Feature Visualization",
    Distill, section "Preconditioning and parameterization", there with the colours of ImageNet).
    """

    mean: NDArray[np.float64]
    axes: NDArray[np.float64]

    @classmethod
    def measured(cls, pictures: Pictures) -> Colour:
        """The colours of galaxies uint8 (N, C, S, S); an axis without contrast gets 1% of the longest one's length."""
        half = principal_axes(pictures)
        covariance = half.T @ half
        variances, axes = np.linalg.eigh(covariance)
        lengths = np.sqrt(np.maximum(variances, max(_LEAST**2 * variances[-1], 1e-6)))
        mean = pictures.mean(axis=(0, 2, 3), dtype=np.float64) / 255
        return cls(mean.clip(0.01, 0.99), lengths[:, None] * axes.T)

    def pixels(self, z: Tensor) -> Tensor:
        """Colours in 0..1 of coordinates (N, C, H, W), of the same shape."""
        offset, matrix = self._linear(z)
        return torch.sigmoid(torch.einsum("nchw,cd->ndhw", z, matrix) + offset)

    def coordinates(self, x: Tensor) -> Tensor:
        """The inverse of :meth:`pixels` for colours (N, C, H, W) between 0 and 1, both excluded."""
        offset, matrix = self._linear(x)
        return torch.einsum("ndhw,dc->nchw", torch.logit(x) - offset, torch.linalg.inv(matrix))

    def _linear(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean, axes = (torch.from_numpy(one).to(like.dtype) for one in (self.mean, self.axes))
        return torch.logit(mean)[:, None, None], axes / (mean * (1 - mean))


@dataclass(frozen=True, eq=False)
class Visualisation:
    """Pictures uint8 (T, bands, size, size) that excite ``objectives`` (T) most, as found from noise.

    ``values`` (T,) say how much, and ``galaxies`` (T, N) how much each galaxy compared with does, both as
    :func:`~tuningfork.insight.objective.excitations`.
    """

    objectives: tuple[Objective, ...]
    bands: tuple[str, ...]
    pictures: Pictures
    values: NDArray[np.float32]
    galaxies: NDArray[np.float32]

    @property
    def share_below(self) -> NDArray[np.float64]:
        """The share of the galaxies that excite each objective less than its picture does, (T,)."""
        return np.asarray((self.galaxies < self.values[:, None]).mean(axis=1), np.float64)

    def figure(self, columns: int = 6) -> Figure:
        """The pictures in rows of ``columns``, each under its objective's name, with its value and the galaxies'."""
        rows = -(-len(self.objectives) // columns)
        with matplotlib.rc_context(STYLE):
            wide = min(columns, len(self.objectives))
            figure = Figure(figsize=(1.9 * wide, 2.35 * rows), layout="constrained")
            grid = figure.subplots(rows, wide, squeeze=False).ravel()
            for axes in grid:
                axes.set_axis_off()
            for axes, objective, picture, value, others in zip(
                grid, self.objectives, self.pictures, self.values, self.galaxies, strict=False
            ):
                show(axes, picture, self.bands)
                told = f"{objective}\n{value:.3g}; galaxies {np.median(others):.3g}, at most {others.max():.3g}"
                axes.set_title(told, fontsize=6.5)
        return figure


def visualise(
    net: GalaxyNet,
    objectives: Sequence[Objective],
    galaxies: Pictures,
    *,
    steps: int = 128,
    rate: float = 0.05,
    seed: int = 0,
    robust: bool = True,
    progress: Callable[[int, int, str], None] | None = None,
) -> Visualisation:
    """The pictures that excite ``objectives`` most, each found from noise by ``steps`` of Adam at ``rate``.

    After Olah, Mordvintsev & Schubert 2017 ("Feature Visualization", Distill, doi:10.23915/distill.00007): the picture
    is the inverse Fourier transform of the numbers that are learnt, each frequency divided by itself, so that all have
    the power of natural images, in colours decorrelated as those of ``galaxies`` are (:class:`Colour`); and with
    ``robust`` every step looks at it shifted by up to 1/16 of the side, turned by up to 10 degrees and zoomed by up to
    10%, mirrored where that passes the edge: what only works at one exact position is left out.

    Args:
        net: any network, seen without dropout. ``objectives``: all begin at one noise and are moved alike, so
            that a picture does not depend on what else is asked for.
        galaxies: uint8 (N, bands, size, size) as the network sees them, whose colours and excitations are taken.

    Deterministic by ``seed`` on one machine. Raises what
    :func:`~tuningfork.insight.objective.check_objectives` raises, and :class:`RecipeError` for galaxies of another
    shape or a number of steps below 1.
    """
    check_pictures(net, galaxies)
    if steps < 1 or not rate > 0:
        raise RecipeError(f"steps is {steps} and rate {rate}; a picture is found in at least 1 step of a rate above 0")
    others = excitations(net, galaxies, objectives).T
    layers = check_objectives(net, objectives)
    colour, pictures = Colour.measured(galaxies), []
    for start in range(0, len(objectives), _TOGETHER):
        some = objectives[start : start + _TOGETHER]
        with still(net):
            spectrum = _ascended(net, some, layers, colour, steps, rate, seed, robust)
        pictures.append(_eight_bits(colour.pixels(spectrum)))
        if progress is not None:
            progress(start + len(some), len(objectives), "visualised")
    found = np.concatenate(pictures)
    values = excitations(net, found, objectives)[range(len(objectives)), range(len(objectives))]
    return Visualisation(tuple(objectives), net.bands, found, values, others)


def _ascended(
    net: GalaxyNet,
    objectives: Sequence[Objective],
    layers: Mapping[str, Layer],
    colour: Colour,
    steps: int,
    rate: float,
    seed: int,
    robust: bool,
) -> Tensor:
    """Coordinates (T, C, S, S) of the pictures after all steps."""
    generator, size = torch.Generator().manual_seed(seed), net.size
    start = torch.randn(1, len(net.bands), size, size // 2 + 1, 2, generator=generator) * 0.01
    learnt = start.repeat(len(objectives), 1, 1, 1, 1).requires_grad_()  # (T, C, S, S // 2 + 1, 2)
    adam = torch.optim.Adam([learnt], lr=rate)
    for _ in range(steps):
        x = colour.pixels(from_spectrum(learnt, size))
        if robust:
            x = _moved(x, generator)
        with Woken():
            outputs = layer_outputs(net, x, layers)
        found = torch.stack([excitation(net, outputs, objective)[row] for row, objective in enumerate(objectives)])
        (gradient,) = torch.autograd.grad(found.sum(), [learnt])
        learnt.grad = -gradient  # Adam goes down
        adam.step()
    return from_spectrum(learnt.detach(), size)


def from_spectrum(learnt: Tensor, size: int) -> Tensor:
    """Planes (N, C, size, size) of real and imaginary parts (N, C, size, size // 2 + 1, 2), each over its frequency."""
    frequency = torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None])  # (S, S // 2 + 1)
    scaled = torch.view_as_complex(learnt) / frequency.clamp_min(1 / size)
    return torch.fft.irfft2(scaled, s=(size, size), norm="ortho") / 4


def _moved(x: Tensor, generator: torch.Generator) -> Tensor:
    """All pictures shifted, turned and zoomed by the same random amounts; what lies outside is mirrored."""
    drawn = (2 * torch.rand(4, generator=generator) - 1).tolist()
    angle, zoom = math.radians(10 * drawn[0]), 1.1 ** drawn[1]
    cos, sin = math.cos(angle) / zoom, math.sin(angle) / zoom
    theta = torch.tensor([[cos, -sin, drawn[2] / 8], [sin, cos, drawn[3] / 8]])  # half the side is 1 here
    grid = F.affine_grid(theta.expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


class _Wake(torch.autograd.Function):
    """A rectifier min(max(x, 0), top) whose gradient, of a picture for which it is 0 everywhere, wakes it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, top: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.top = top
        return x.clamp(0, top)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,), given = ctx.saved_tensors, grads[0]
        true = torch.where((x > 0) & (x < ctx.top), given, 0)
        asleep = ~true.flatten(1).any(dim=1).reshape(-1, *[1] * (x.ndim - 1))
        return torch.where(asleep & (x <= 0) & (given > 0), given, true), None


class Woken(TorchFunctionMode):
    """While on, rectifiers pass the gradient to be climbed where it would wake them, of pictures that get none else.

    A unit that noise leaves at 0 has no gradient and could not be found (as Lucid, the code of Olah et al. 2017,
    redirects it). Where any gradient passes, it is the true one.
    """

    _ENDLESS = (F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by torch in place of each function."""
        kwargs = kwargs or {}
        if func in self._ENDLESS:
            return _Wake.apply(args[0], math.inf)
        if func is F.relu6:
            return _Wake.apply(args[0], 6.0)
        if func is F.hardtanh and kwargs.get("min_val") == 0:  # torch passes all but the input by name
            return _Wake.apply(args[0], float(kwargs["max_val"]))
        return func(*args, **kwargs)


def _eight_bits(x: Tensor) -> Pictures:
    return (x * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def show(axes: Any, picture: Pictures, bands: tuple[str, ...]) -> None:
    """Draw what a network sees, uint8 (bands, S, S), on matplotlib axes: in colour, or grey of one band."""
    axes.imshow(to_picture(Cutout("", picture, bands)), interpolation="bilinear")
    axes.set_axis_off()
