"""The classifiers, each a scikit-learn pipeline made from its choices."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from ..errors import TrainingError
from .choices import BaselineChoice

FOLDS = 5  # of the calibration of an SVM


def make_classifier(choice: BaselineChoice, smallest_class: int, most_components: int) -> Pipeline:
    """An unfitted pipeline that turns rows of float32 numbers into class probabilities.

    Tree and forest take the numbers as they are; the others take them standardised (mean 0, deviation 1 in training).
    For "pca", principal components (whitened, so already of deviation 1) come first. The SVM is linear; its margins
    become probabilities by Platt's sigmoids, fitted on margins of up to 5 folds of the training galaxies (Platt 1999)
    which neither the SVM nor its scaling or components have seen, fewer where ``smallest_class``, the galaxies of the
    rarest class, are fewer.
    """
    steps: list[Any] = []
    if choice.on == "pca":
        count = min(choice.components, most_components)
        steps.append(PCA(count, whiten=True, svd_solver="randomized", random_state=choice.seed))
    elif choice.kind not in ("tree", "forest"):
        steps.append(StandardScaler())
    made = make_pipeline(*steps, CLASSIFIERS[choice.kind](choice))
    return make_pipeline(_calibrated(choice, made, smallest_class)) if choice.kind == "svm" else made


def _weights(choice: BaselineChoice) -> str | None:
    return "balanced" if choice.balanced else None


def _leaves(choice: BaselineChoice) -> dict[str, Any]:
    return {
        "max_depth": choice.depth or None,
        "min_samples_leaf": choice.leaf,
        "class_weight": _weights(choice),
        "random_state": choice.seed,
    }


def _tree(choice: BaselineChoice) -> DecisionTreeClassifier:
    return DecisionTreeClassifier(**_leaves(choice))


def _forest(choice: BaselineChoice) -> RandomForestClassifier:
    return RandomForestClassifier(choice.trees, **_leaves(choice))


def _mlp(choice: BaselineChoice) -> MLPClassifier:
    return MLPClassifier(
        (choice.hidden,), alpha=1e-4 / choice.strength, max_iter=choice.epochs, random_state=choice.seed
    )


def _svm(choice: BaselineChoice) -> LinearSVC:
    return LinearSVC(
        C=choice.strength, class_weight=_weights(choice), max_iter=20 * choice.epochs, random_state=choice.seed
    )


def _calibrated(choice: BaselineChoice, margin: Pipeline, smallest: int) -> CalibratedClassifierCV:
    if smallest < 2:
        raise TrainingError(
            f"a class has {smallest} galaxy to train on; the SVM's probabilities need two of every class: merge or "
            "drop the class (labels.merge, labels.drop), or give more galaxies"
        )
    cut = StratifiedKFold(min(FOLDS, smallest), shuffle=True, random_state=choice.seed)
    return CalibratedClassifierCV(margin, method="sigmoid", cv=cut, ensemble=False)


def _logistic(choice: BaselineChoice) -> LogisticRegression:
    return LogisticRegression(
        C=choice.strength, class_weight=_weights(choice), max_iter=20 * choice.epochs, random_state=choice.seed
    )


CLASSIFIERS: dict[str, Callable[[BaselineChoice], Any]] = {
    "tree": _tree,
    "forest": _forest,
    "mlp": _mlp,
    "svm": _svm,
    "logistic": _logistic,
}


def learn(choice: BaselineChoice, x: NDArray[np.float32], y: NDArray[np.int64]) -> tuple[Pipeline, list[str]]:
    """A pipeline fitted on rows ``x`` (N, D) of classes ``y`` (N,), and notes for people.

    Raises :class:`TrainingError` where fewer than two classes have galaxies.
    """
    seen = np.unique(y, return_counts=True)[1]
    if len(seen) < 2:
        raise TrainingError(f"{len(y)} galaxies of {len(seen)} class are left to train on; two classes are needed")
    rows = len(x)
    if choice.kind == "svm":  # whose calibration fits the components to folds
        rows -= -(-len(x) // max(min(FOLDS, int(seen.min())), 2)) + len(seen)
    most = max(min(rows - 1, x.shape[1]), 1)  # rows about their mean span one less; whitened, one more would be noise
    notes = []
    if choice.on == "pca" and choice.components > most:
        notes.append(f"{choice.components} components were asked for; {x.shape[0]} rows of {x.shape[1]} have {most}")
    pipeline = make_classifier(choice, int(seen.min()), most)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", ConvergenceWarning)
        pipeline.fit(x, y)
    for one in heard:
        if not issubclass(one.category, ConvergenceWarning):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if any(issubclass(one.category, ConvergenceWarning) for one in heard):
        notes.append(f"the {choice.kind} had not converged when it stopped: more 'baseline.epochs' may change it")
    return pipeline, notes


def probabilities(pipeline: Pipeline, x: NDArray[np.float32], n_classes: int) -> NDArray[np.float32]:
    """Class probabilities (N, K) of rows ``x`` (N, D); a class that was never trained on has 0."""
    found = np.zeros((len(x), n_classes), np.float32)
    if len(x):
        found[:, pipeline.classes_] = pipeline.predict_proba(x)
    return found
