"""What measure costs beside statmorph: galaxies per second of its processes, and of plain calls in a loop, in one run.

The plain loop calls statmorph on pixels that are decoded and segmented already; measure decodes, finds the galaxy, its
sky and its neighbours, and writes the table. The rate counts from the first galaxy on: the start of the processes
(imports) is told apart. Seconds of CPU, of all processes and their start, hardly depend on what else the machine does.

    python benchmarks/measure.py SOURCE [--galaxies 40] [--workers 1 2]
"""

import argparse
import resource
import tempfile
import time
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
from statmorph import SourceMorphology

import tuningfork
from tuningfork.errors import BadImage
from tuningfork.galaxy.cutout import Record
from tuningfork.insight.measuring import measure
from tuningfork.insight.morphometry import chosen_plane
from tuningfork.insight.segmentation import GALAXY, Segmentation, segment


def segmented(records: list[Record]) -> tuple[list[str], list[Segmentation]]:
    """The ids of galaxies that can be measured, and their pixels, ready for statmorph."""
    ids, parts = [], []
    for record in records:
        try:
            cutout = record.cutout()
            parts.append(segment(chosen_plane(cutout.pixels, cutout.bands)[0]))
        except BadImage:
            continue
        ids.append(record.id)
    return ids, parts


def plain(parts: list[Segmentation]) -> None:
    """statmorph alone, in a loop."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in parts:
            weight = np.ones_like(one.light)
            SourceMorphology(one.light / one.noise, one.labels, GALAXY, mask=one.masked, weightmap=weight)


def children() -> float:
    """Seconds of CPU that processes which have ended took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Measure, and print one line per part and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--galaxies", type=int, default=40)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    choice = parser.parse_args()
    source = tuningfork.open_source(choice.source)
    ids, parts = segmented([one for one in islice(source.records(), choice.galaxies) if isinstance(one, Record)])
    plain(parts[:1])  # what a first call imports
    began, spent = time.perf_counter(), time.process_time()
    plain(parts)
    alone, cpu = len(ids) / (time.perf_counter() - began), (time.process_time() - spent) / len(ids)
    print(f"statmorph in a loop   {alone:6.2f} galaxies/s, {cpu:.2f} s of CPU each ({len(ids)} galaxies)")
    for workers in choice.workers:
        first = []
        with tempfile.TemporaryDirectory() as place:

            def note(*_: object, first: list[float] = first) -> None:
                first.append(time.perf_counter())

            began, spent = time.perf_counter(), children()
            measure(source, Path(place) / "t.parquet", ids=ids, workers=workers, progress=note)
            whole = time.perf_counter() - began
        rate, each = (len(ids) - 1) / (first[-1] - first[0]), (children() - spent) / len(ids)
        print(
            f"measure, {workers} process(es) {rate:6.2f} galaxies/s = {rate / alone:.2f} of the loop "
            f"(the first after {first[0] - began:.1f} s; with all {len(ids) / whole:.2f}/s); "
            f"{each:.2f} s of CPU each = {each / cpu:.2f} of the loop's"
        )


if __name__ == "__main__":
    main()
