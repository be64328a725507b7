"""Whether the answers hold where a picture shows its galaxy larger or smaller than those that were learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...evaluate.bootstrap import Estimate
from ...galaxy.records import Source
from .ask import WAYS, ask, changed, ids_of_part, open_heads
from .findings import Findings, mean, rms
from .headline import EFIGI, GZ1, ON_EFIGI, ON_GZ1, four_classes, four_labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ZOOMS = (0.5, 0.7, 1.0, 1.4, 2.0)
_Curve = list[tuple[float, Estimate]]


def zoomed(
    models: str | Path | Sequence[str | Path],
    union: Source,
    *,
    zooms: Sequence[float] = ZOOMS,
    views: int = 1,
    most: int = 0,
    resamples: int = 1000,
    command: str = "",
) -> Findings:
    """Four-class accuracy (gz1) and RMS error of T (efigi) on the test parts, by the magnification of the pictures.

    Pictures go through :func:`magnified` before anything else looks at them: with the frame of the models' cards, and
    without it (``resize`` of ``classify``). A shrunk picture shows the same field in fewer pixels, a magnified one a
    smaller field: fields wider than the samples' are not tried. Galaxies without an answer count as "rejected" and are
    not in the figure. ``most`` > 0 takes so many of each sample. The curves are ``figures["zoom"]``.
    """
    findings, curves = Findings(command), dict[tuple[str, bool], _Curve]()
    catalog = union.catalog
    for name, what, on in (
        (GZ1, "accuracy, four classes", ON_GZ1),
        (EFIGI, "RMS error of T", ON_EFIGI),
    ):
        ids = ids_of_part(union, name, most)
        assert catalog is not None
        truth = catalog.select(ids)
        for resize in WAYS:
            eyes = open_heads(models, (name,), views=views, resize=resize)
            for zoom in zooms if eyes else ():
                asked = ask(changed(union.records(ids), partial(magnified, zoom=zoom)), eyes)
                done = asked.answered(name)
                if name == GZ1:
                    labels = four_labels(np.asarray(truth["gz1_class"]))
                    done &= labels >= 0
                    guess = four_classes(asked.said(name), asked.heads[name].names).argmax(1)
                    value = mean((guess == labels)[done], resamples)
                else:
                    apart = asked.column(name, "T") - np.asarray(truth["T"], np.float64)
                    done &= np.isfinite(apart)
                    value = rms(apart[done] ** 2, resamples)
                rejected, n = int((~asked.answered(name)).sum()), int(done.sum())
                told = f"{what}, pictures magnified x{zoom:g}"
                findings.add(name, told, on, value, n, zoom=zoom, seen=WAYS[resize], rejected=rejected)
                curves.setdefault((name, resize), []).append((zoom, value))
                if resize and rejected > 0.05 * len(ids):
                    told = f"Of pictures magnified x{zoom:g}, {rejected / len(ids):.0%} are rejected"
                    findings.fail(name, f"{told}: their galaxy is cut off, or none is found.")
    for (name, resize), curve in curves.items():
        if resize:
            _say_where_it_breaks(findings, name, curve)
    findings.figures["zoom"] = _draw(curves)
    return findings


def magnified(pixels: NDArray[np.uint8], zoom: float) -> NDArray[np.uint8]:
    """A picture (height, width, 3), uint8, resampled by ``zoom`` (bicubic, of Pillow).

    Magnified ones are cut about their middle to the size they had, as a picture of a smaller field is; shrunk ones are
    smaller. 1 changes nothing.
    """
    if zoom == 1:
        return pixels
    height, width = pixels.shape[:2]
    size = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    large = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BICUBIC))
    top, left = max(0, (large.shape[0] - height) // 2), max(0, (large.shape[1] - width) // 2)
    return np.ascontiguousarray(large[top : top + height, left : left + width])


def _say_where_it_breaks(findings: Findings, name: str, curve: _Curve) -> None:
    """Name the magnifications whose interval lies beyond that of the pictures as they are, on the worse side."""
    plain = next((value for zoom, value in curve if zoom == 1), None)
    for zoom, value in curve:
        if plain is None or not np.isfinite([value.low, value.high, plain.low, plain.high]).all():
            continue
        if name == GZ1 and value.high < plain.low:
            findings.fail(name, f"Pictures magnified x{zoom:g} lower the four-class accuracy from {plain} to {value}.")
        if name == EFIGI and value.low > plain.high:
            findings.fail(name, f"Pictures magnified x{zoom:g} raise the RMS error of T from {plain} to {value}.")


def _draw(curves: dict[tuple[str, bool], _Curve]) -> Figure:
    import matplotlib
    from matplotlib.figure import Figure

    from ...evaluate.plots import STYLE, line_style

    panels = [name for name in (GZ1, EFIGI) if any(key[0] == name for key in curves)]
    titles = {GZ1: ("four classes of Galaxy Zoo 1", "accuracy"), EFIGI: ("Hubble stage of EFIGI", "RMS error of T")}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2 * max(1, len(panels)), 3.2), layout="constrained")
        for number, name in enumerate(panels):
            axes = figure.add_subplot(1, len(panels), number + 1)
            for index, (resize, way) in enumerate(WAYS.items()):
                curve = curves.get((name, resize), [])
                at, value = [zoom for zoom, _ in curve], np.array([one.value for _, one in curve])
                reach = [
                    np.nan_to_num(np.abs(value - [getattr(one, end) for _, one in curve])) for end in ("low", "high")
                ]
                axes.errorbar(
                    np.array(at) * 1.03**index,
                    value,
                    reach,
                    label=way,
                    marker="o",
                    markersize=3.5,
                    capsize=2,
                    **line_style(index),
                )
            title, label = titles[name]
            axes.set_xscale("log")
            axes.set_xticks(ticks := [zoom for zoom, _ in curves[name, True]], [f"x{zoom:g}" for zoom in ticks])
            axes.set_xticks([], minor=True)
            axes.set(title=title, xlabel="magnification of the picture", ylabel=label)
            if not number:
                figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
