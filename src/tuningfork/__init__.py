"""tuningfork: from pictures of galaxies to calibrated morphology.

The everyday verbs and types stand here and are bound when they are first used, so that ``import tuningfork`` is quick
and brings no torch; everything else is imported from its room (``from tuningfork.galaxy.display import Display``).
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_FACE = {
    "Card": "model.card",
    "Catalog": "galaxy.catalog",
    "Cutout": "galaxy.cutout",
    "Display": "galaxy.display",
    "LabelChoice": "galaxy.labels",
    "Labels": "galaxy.labels",
    "Reason": "errors",
    "Record": "galaxy.cutout",
    "Source": "galaxy.source",
    "Store": "galaxy.store",
    "TrainRecipe": "train.choices",
    "Tree": "galaxy.tree",
    "TuningforkError": "errors",
    "Votes": "galaxy.votes",
    "demo": "workflow.demo",
    "evaluate": "evaluate.judge",
    "info": "workflow.info",
    "ingest": "galaxy.ingest",
    "make_labels": "galaxy.labels",
    "open_source": "galaxy.source",
    "predict": "predict.predict",
    "simulate_galaxies": "simulate.galaxies",
    "train": "workflow.training",
}

__all__ = sorted(_FACE)


class _Face(ModuleType):
    """Keeps the verbs train, predict and evaluate in their places when the rooms of the same names are imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _FACE and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Face


def __getattr__(name: str) -> Any:
    if name not in _FACE:
        raise AttributeError(f"module 'tuningfork' has no attribute '{name}'; it has: {', '.join(__all__)}")
    value = getattr(importlib.import_module(f".{_FACE[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
