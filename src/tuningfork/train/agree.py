"""Two views of one galaxy agree: what a network learns of every galaxy without a label."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.augment import Augment, augment
from ..model.net import GalaxyNet


def another_view(
    pictures: Tensor, mirrored: Tensor, choice: Augment, size: int, generator: torch.Generator, colours: Tensor | None
) -> Tensor:
    """A second random view (N, C, size, size) of uint8 pictures (N, C, M, M), mirrored where the first one is.

    ``mirrored`` is bool (N,). Turn, zoom, shift, colour and noise are drawn anew; a mirror is not, since agreement of
    a galaxy with its mirror image would teach the network not to tell directions apart.
    """
    alike = torch.where(mirrored.to(pictures.device)[:, None, None, None], pictures.flip(-1), pictures)
    return augment(alike, replace(choice, flip=False, transpose=False), size, generator, colours)


def disagreement(features: Tensor, teacher: GalaxyNet, views: Tensor) -> Tensor:
    """How far features (N, F) of one view are from what ``teacher`` sees in another one (N, C, S, S): (N,), 0 to 2.

    d = 1 - cos(f - m, t - m), where t are the teacher's features of the other view and m is their mean over the batch.
    The teacher is the moving average of the network and learns nothing here (Tarvainen & Valpola 2017,
    arXiv:1703.01780; Grill et al. 2020, arXiv:2006.07733, equation 2). There is no predictor as in the latter: the
    labels, learnt beside this, keep features from becoming all alike. m is taken away because features behind a ReLU
    point into one octant, where all cosines are large. Of a batch of one picture d is 1 and teaches nothing.
    """
    teaching = teacher.training
    teacher.eval()
    with torch.no_grad():
        there = teacher.features(views).float()
    teacher.train(teaching)
    mean = there.mean(dim=0)
    return 1 - F.cosine_similarity(features.float() - mean, there - mean, dim=1)
