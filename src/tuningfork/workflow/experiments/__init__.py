"""The historic experiments, each a recipe and a function that runs it at a desk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .challenge import ChallengeRecipe
from .challenge import run as challenge_winner
from .choices import Experiment
from .desk import Desk
from .fiveband import FiveBandRecipe
from .fiveband import run as five_band
from .googlenet import GoogLeNetRecipe
from .googlenet import run as googlenet
from .lenses import ScratchRecipe, TransferRecipe
from .lenses import scratch as lens_scratch
from .lenses import transfer as lens_transfer
from .morphology import MorphologyRecipe
from .morphology import run as morphology
from .nightsky import NightSkyRecipe
from .nightsky import run as night_sky
from .outcome import Finding
from .spiral import SpiralRecipe
from .spiral import run as spiral

__all__ = ["EXPERIMENTS", "Run"]

Run = Callable[[Desk[Any]], tuple[Finding, ...]]

# name -> its recipe's class, and what runs it; in the order of the table
EXPERIMENTS: dict[str, tuple[type[Experiment], Run]] = {
    "s1-morphology-types": (MorphologyRecipe, morphology),
    "s1-lens-scratch": (ScratchRecipe, lens_scratch),
    "s1-lens-transfer": (TransferRecipe, lens_transfer),
    "s2-spiral-elliptical": (SpiralRecipe, spiral),
    "s3-night-sky": (NightSkyRecipe, night_sky),
    "s4-five-band": (FiveBandRecipe, five_band),
    "s5-googlenet-svm": (GoogLeNetRecipe, googlenet),
    "challenge-winner": (ChallengeRecipe, challenge_winner),
}
