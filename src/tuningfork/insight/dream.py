"""Deep dream: a galaxy changed, octave by octave, into what chosen layers, units or answers see in it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from ..errors import RecipeError
from ..evaluate.plots import STYLE
from ..model.net import GalaxyNet
from ..model.weights import answer
from .layers import Layer, still
from .objective import Objective, check_objectives, check_pictures, excitation, excitations, layer_outputs
from .visualise import Pictures, Woken, show

_LARGEST = 2048  # px, side of a dream


@dataclass(frozen=True, eq=False)
class Dream:
    """A galaxy uint8 (bands, size, size), what became of it, and how much both excite the objectives (T).

    ``head`` and ``names`` (K) say what the answers are, as on the model's card.

    ``picture`` uint8 (bands, L, L) is as large as the last octave; ``small`` the same at the network's size, by which
    ``after`` (T,) and ``answers_after`` (K,) are measured; ``before`` and ``answers_before`` are the galaxy's.
    """

    objectives: tuple[Objective, ...]
    bands: tuple[str, ...]
    head: str
    names: tuple[str, ...]
    galaxy: Pictures
    picture: Pictures
    small: Pictures
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    answers_before: NDArray[np.float32]
    answers_after: NDArray[np.float32]

    def figure(self) -> Figure:
        """The galaxy beside its dream, each with its likeliest class or what is asked of it, and its excitations."""
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(7.6, 4.4), layout="constrained")
            sides = (
                ("galaxy", self.galaxy, self.before, self.answers_before),
                ("dream", self.picture, self.after, self.answers_after),
            )
            for axes, (what, picture, values, answers) in zip(figure.subplots(1, 2), sides, strict=True):
                show(axes, picture, self.bands)
                lines = [f"{what}{self._told(answers)}"]
                for one, value in [*zip(self.objectives, values, strict=True)][:4]:
                    lines.append(f"{one}{' before the head' if one.answer else ''}: {value:.3g}")
                axes.set_title("\n".join(lines), fontsize=8)
        return figure

    def _told(self, answers: NDArray[np.float32]) -> str:
        """The likeliest class; of attributes, each on a scale of its own, the first asked for; of votes none."""
        asked = [one.answer for one in self.objectives if one.answer]
        if self.head == "classes":
            top = int(answers.argmax())
            return f": {self.names[top]} {answers[top]:.3g}"
        if asked and self.head == "sigmoid":
            return f": {asked[0]} at {answers[self.names.index(asked[0])]:.3g} of its scale"
        return ""


def dream(
    net: GalaxyNet,
    galaxy: Pictures,
    objectives: Sequence[Objective],
    *,
    octaves: int = 3,
    scale: float = 1.4,
    steps: int = 20,
    rate: float = 0.01,
    seed: int = 0,
) -> Dream:
    """The deep dream of ``galaxy``, uint8 (bands, size, size) as the network sees it.

    Gradient ascent on the pixels x in 0..1 (Mordvintsev, Olah & Tyka 2015, "Inceptionism"): x + rate mean_t(g_t /
    mean|g_t|), cut to 0..1, with g_t the gradient of the excitation of objective t, so that each pulls alike. ``steps``
    of these at the network's size, then at ``scale`` times the size, and so on for ``octaves``, the picture enlarged
    in between: large shapes first, then ever finer ones in them. A picture larger than the network's input is seen in
    tiles of that size, cut at other places in each step (it is rolled by a random shift), which works for networks
    with dense layers too and leaves no seams; and as a whole, shrunk, lest the fine undo the large: the gradients of
    both, and of all objectives, are averaged.

    Deterministic by ``seed``. Raises what :func:`~tuningfork.insight.objective.check_objectives` raises, and
    :class:`RecipeError` for a galaxy of another shape, and for octaves that end above 2048 px or are fewer than one.
    """
    check_pictures(net, galaxy[None])
    layers = check_objectives(net, objectives)
    largest = round(net.size * scale ** (octaves - 1)) if octaves >= 1 and scale >= 1 else 0
    if not 0 < largest <= _LARGEST or steps < 1 or not rate > 0:
        raise RecipeError(
            f"{octaves} octaves of {steps} steps at scale {scale} and rate {rate} from {net.size} px: at least 1 "
            f"octave and step, a scale of 1 or more, a rate above 0 and at most {_LARGEST} px in the end"
        )
    generator = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(np.ascontiguousarray(galaxy)).float()[None] / 255  # (1, C, S, S)
    with still(net):
        for octave in range(octaves):
            side = round(net.size * scale**octave)
            if side != x.shape[-1]:
                x = F.interpolate(x, (side, side), mode="bicubic", align_corners=False).clamp(0, 1)
            for _ in range(steps):
                x = (x + rate * _gradient(net, x, objectives, layers, generator)).clamp(0, 1)
    picture = (x[0] * 255).round().to(torch.uint8).numpy()
    small = (_shrunk(x, net.size)[0].clamp(0, 1) * 255).round().to(torch.uint8).numpy() if octaves > 1 else picture
    both = np.stack([galaxy, small])
    values, answers = excitations(net, both, objectives), answer(net, both)
    told = (tuple(objectives), net.bands, net.head.kind, net.head.names, galaxy, picture, small)
    return Dream(*told, values[0], values[1], answers[0], answers[1])


def _gradient(
    net: GalaxyNet, x: Tensor, objectives: Sequence[Objective], layers: Mapping[str, Layer], generator: torch.Generator
) -> Tensor:
    """The mean of the objectives' gradients at a picture (1, C, L, L), each of a mean size of 1."""
    side, size = x.shape[-1], net.size
    shift = torch.randint(side, (2,), generator=generator).tolist() if side > size else [0, 0]
    x = x.detach().requires_grad_()
    rolled = x.roll(shift, (2, 3))
    starts = np.linspace(0, side - size, -(-side // size)).round().astype(int).tolist()
    views = [rolled[:, :, a : a + size, b : b + size] for a, b in itertools.product(starts, starts)]
    if side > size:
        views.append(_shrunk(x, size))
    with Woken():
        outputs = layer_outputs(net, torch.cat(views), layers)
        values = [excitation(net, outputs, one) for one in objectives]  # (views,) each
    found = [part for one in values for part in ((one[:-1].sum(), one[-1]) if side > size else (one.sum(),))]
    total = torch.zeros_like(x)
    for value in found:
        (gradient,) = torch.autograd.grad(value, [x], retain_graph=True)
        total += gradient / gradient.abs().mean().clamp_min(1e-20)
    return total / len(found)


def _shrunk(x: Tensor, size: int) -> Tensor:
    return F.interpolate(x, (size, size), mode="bicubic", align_corners=False, antialias=True)
