"""How fast lenses are drawn on one core, how visible they are, and whether the background gives them away.

The border test: cross-validated classifiers (logistic regression, random forest) see only statistics of the pixels
farther than 12 arcsec from the middle; areas under their curves near 0.5 mean that there is nothing to learn there.

    OMP_NUM_THREADS=1 python benchmarks/lenses.py [--survey cfhtls] [--number 600] [--seed 7]
"""

import argparse
import os
import time
from collections import defaultdict

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer

from tuningfork.simulate.cfhtls import FIELD, LENS_SURVEYS, find_lens_survey
from tuningfork.simulate.exposure import expose
from tuningfork.simulate.scene import draw_scene

BANDS = ("g", "r", "i")


def main() -> None:
    """Draw, time, and try to tell lenses by their borders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--survey", choices=LENS_SURVEYS, default="cfhtls")
    parser.add_argument("--number", type=int, default=600)
    parser.add_argument("--seed", type=int, default=7)
    choice = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    survey = find_lens_survey(choice.survey)
    size = round(FIELD / survey.pixel_scale)
    start = time.perf_counter()
    expose(draw_scene(choice.seed, 0, survey, 1.0), BANDS, survey, size)
    print(f"start-up (imports, tables, compiled code from its cache or new): {time.perf_counter() - start:.1f} s")
    edge = round(3 / survey.pixel_scale)
    border = np.ones((size, size), bool)
    border[edge:-edge, edge:-edge] = False
    seconds: dict[str, list[float]] = defaultdict(list)
    snr: dict[str, list[float]] = defaultdict(list)
    features, lens = [], []
    for index in range(choice.number):
        start = time.perf_counter()
        scene = draw_scene(choice.seed, index, survey, 0.5)
        seen = expose(scene, BANDS, survey, size)
        seconds[scene.flavor].append(time.perf_counter() - start)
        snr[scene.flavor].append(seen.snr)
        edges = seen.flux[:, border]
        features.append(np.concatenate([edges.mean(1), edges.std(1), *np.percentile(edges, (5, 50, 90, 99), axis=1)]))
        lens.append(scene.is_lens)
    for flavor in sorted(seconds):
        times, seen_snr = np.array(seconds[flavor]), np.percentile(snr[flavor], (10, 50, 90))
        told = f", arc signal-to-noise {seen_snr[0]:.0f} / {seen_snr[1]:.0f} / {seen_snr[2]:.0f}" if seen_snr[2] else ""
        print(f"{flavor:16} {len(times):5} stamps, {1e3 * times.mean():5.1f} ms each{told}")
    everything = np.concatenate([np.array(times) for times in seconds.values()])
    print(f"all: {len(everything) / everything.sum():.1f} stamps of {size} px and {len(BANDS)} bands per second")
    judge_borders(np.array(features), np.array(lens))


def judge_borders(features: np.ndarray, lens: np.ndarray) -> None:
    """Print each classifier's area under the curve, beside its scatter where there is nothing to learn."""
    scatter = np.sqrt((len(lens) + 1) / (12 * lens.sum() * (~lens).sum()))
    quantiles = QuantileTransformer(n_quantiles=min(100, len(lens)), output_distribution="normal")
    for name, judge in [
        ("logistic regression", make_pipeline(quantiles, LogisticRegression(C=0.1))),
        ("random forest", RandomForestClassifier(300, min_samples_leaf=8, random_state=0)),
    ]:
        told = cross_val_predict(judge, features, lens, cv=5, method="predict_proba")[:, 1]
        area = roc_auc_score(lens, told)
        print(f"border alone, {name}: area under the curve {area:.3f} (chance 0.500 +- {scatter:.3f})")


if __name__ == "__main__":
    main()
