"""Heads: what the last layer's numbers mean as answers about a galaxy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..errors import BadWeights

Slices = Mapping[str, slice]

DIRICHLET_RANGE = 100.0
_TINY = 1e-12  # a floor and no summand: the exporter's optimiser takes "+ 1e-12" for "+ 0", which would leave 0 / 0


class Head(nn.Module):
    """The sense of a network's raw outputs z.

    ``names`` are the answers in order; ``n_outputs`` is how many numbers z holds per galaxy. A head has no weights:
    the last linear layer belongs to the network. ``kind`` is its name in ``card.HEADS``.
    """

    kind: ClassVar[str]

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)

    @property
    def n_outputs(self) -> int:
        """Numbers per galaxy that the last layer must give."""
        return len(self.names)

    def answers(self, z: Tensor) -> Tensor:
        """What the outputs z (N, n_outputs) say: float32 (N, K)."""
        raise NotImplementedError

    def forward(self, z: Tensor) -> Tensor:
        """The same as :meth:`answers`."""
        return self.answers(z)


class ClassesHead(Head):
    """One class out of K: probabilities p = softmax(z / T), which sum to 1.

    The temperature T > 0 is fitted on galaxies kept out of training (Guo et al. 2017, arXiv:1706.04599); it
    changes how sure the network is and never which class is first.
    """

    kind = "classes"

    def __init__(self, names: Sequence[str], temperature: float = 1.0) -> None:
        super().__init__(names)
        self.temperature = temperature

    def answers(self, z: Tensor) -> Tensor:
        """Probabilities (N, K)."""
        return torch.softmax(z.float() / self.temperature, dim=1)


class SigmoidHead(Head):
    """K independent yes-or-no answers: p = 1 / (1 + exp(-z / T))."""

    kind = "sigmoid"

    def __init__(self, names: Sequence[str], temperature: float = 1.0) -> None:
        super().__init__(names)
        self.temperature = temperature

    def answers(self, z: Tensor) -> Tensor:
        """Probabilities (N, K), each on its own."""
        return torch.sigmoid(z.float() / self.temperature)


class DirichletHead(Head):
    """Concentrations of one Dirichlet distribution per question: alpha = 1 + 100 sigmoid(z), between 1 and 101.

    The expected fraction of answer i to its question is alpha_i / A with A the sum over that question's answers, its
    variance alpha_i (A - alpha_i) / (A^2 (A + 1)): the more sure the network is, the larger A. After Walmsley et al.
    2022 (MNRAS 509, 3966).
    """

    kind = "dirichlet"

    def answers(self, z: Tensor) -> Tensor:
        """Concentrations (N, K)."""
        return 1.0 + DIRICHLET_RANGE * torch.sigmoid(z.float())


class FractionsHead(Head):
    """Fractions of the votes for each answer, given that its question is asked: they sum to 1 over each question.

    ``link`` says how z becomes fractions. "softmax": f_i = exp(z_i) / sum_j exp(z_j). "divisive": f_i = max(z_i, 0) /
    max(sum_j max(z_j, 0), 1e-12), with which Dieleman et al. 2015 (MNRAS 450, 1441) won the Galaxy Challenge; where
    no z of a question is above 0 its fractions are all 0 and no gradient flows. Sums run over one question's answers.
    """

    kind = "fractions"

    def __init__(self, names: Sequence[str], slices: Slices, link: str = "softmax") -> None:
        super().__init__(names)
        self.slices, self.link = dict(slices), link

    def answers(self, z: Tensor) -> Tensor:
        """Fractions (N, K), each question's within 0..1."""
        parts = [z[:, span].float() for span in self.slices.values()]
        if self.link == "softmax":
            return torch.cat([torch.softmax(part, dim=1) for part in parts], dim=1)
        parts = [torch.relu(part) for part in parts]
        return torch.cat([part / part.sum(dim=1, keepdim=True).clamp_min(_TINY) for part in parts], dim=1)


class SeveralHead(Head):
    """Several heads side by side, each on outputs of its own; only in training, where each becomes a model.

    ``heads`` by name; ``slices`` says which outputs, and which answers, are whose. An answer's name is
    "head:answer".
    """

    kind = "several"

    def __init__(self, heads: Mapping[str, Head]) -> None:
        super().__init__([f"{name}:{answer}" for name, head in heads.items() for answer in head.names])
        self.heads, self.slices, start = dict(heads), dict[str, slice](), 0
        for name, head in heads.items():
            self.slices[name] = slice(start, start := start + head.n_outputs)

    def answers(self, z: Tensor) -> Tensor:
        """The answers of all heads (N, K)."""
        return torch.cat([head.answers(z[:, self.slices[name]]) for name, head in self.heads.items()], dim=1)


def make_head(
    kind: str, names: Sequence[str], slices: Slices | None = None, *, link: str = "softmax", temperature: float = 1.0
) -> Head:
    """A head by its name in ``card.HEADS``; ``slices`` (question -> its columns, ``Tree.slices``) for fractions.

    Raises :class:`BadWeights` on an unknown name, or slices that do not cover the names in order.
    """
    if kind in ("dirichlet", "fractions"):
        edges = [0, *[span.stop for span in (slices or {}).values()]]
        if not slices or edges[-1] != len(names) or [span.start for span in slices.values()] != edges[:-1]:
            raise BadWeights(f"a {kind} head needs a tree whose questions cover its {len(names)} answers, not {slices}")
    makers: dict[str, Callable[[], Head]] = {
        "classes": lambda: ClassesHead(names, temperature),
        "sigmoid": lambda: SigmoidHead(names, temperature),
        "dirichlet": lambda: DirichletHead(names),
        "fractions": lambda: FractionsHead(names, slices or {}, link),
    }
    if kind not in makers:
        raise BadWeights(f"no head is called '{kind}': there are {', '.join(makers)}")
    return makers[kind]()
