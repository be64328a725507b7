"""How fast clicks become votes, and in how much memory: from_zooniverse beside a plain loop over csv and json.

A classification export of Galaxy Zoo 2's tree is made up (one row per classification, about 1.4 kB, 3 to 4 clicks each,
one row in a hundred repeated), then read in processes of their own, so that the peaks of memory are theirs alone. The
claim: 10 million clicks in less than 2 GiB, weighting included. The loop does not weight, and rejects nothing.

    python benchmarks/zooniverse.py [--clicks 1000000] [--full]     (--full: 10 million clicks, about 4 GB of disk)
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tuningfork.galaxy.tree import Tree
from tuningfork.survey.zooniverse import from_zooniverse

HEADER = (
    "classification_id,user_name,user_id,user_ip,workflow_id,workflow_name,workflow_version,created_at,gold_standard,"
    "expert,metadata,annotations,subject_data,subject_ids\n"
)
METADATA = json.dumps({
    "source": "api", "session": "7a1f4a17d190291faa1824be3b3febf1d8b77a4f2d25dd6f191f76ef335684bf",
    "viewport": {"width": 1710, "height": 948}, "started_at": "2024-02-23T16:16:35.085Z",
    "user_agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 Chrome/121.0.0.0 Safari/537.36",
    "utc_offset": "18000", "finished_at": "2024-02-23T16:17:42.334Z", "live_project": True, "user_language": "en",
    "subject_dimensions": [{"clientWidth": 558, "clientHeight": 419, "naturalWidth": 1200, "naturalHeight": 900}],
})  # fmt: skip


def quoted(text: str) -> str:
    """A CSV cell."""
    return '"' + text.replace('"', '""') + '"'


def ways(n: int, rng: np.random.Generator) -> list[tuple[str, int]]:
    """Annotations of volunteers who walk the tree, as cells, each with its number of clicks."""
    tree = Tree.load("gz2")
    index = {question.name: number for number, question in enumerate(tree.questions)}
    found = []
    for _ in range(n):
        at, said = 0, []
        while True:
            question = tree.questions[at]
            answer = question.answers[int(rng.integers(len(question.answers)))]
            picture = "![a.png](https://panoptes-uploads.zooniverse.org/production/f353f2f1-a47e-439d.png)"
            said.append({"task": f"T{at}", "task_label": question.text, "value": f"{picture} {answer.text}"})
            if not answer.next:
                break
            at = index[answer.next]
        found.append((quoted(json.dumps(said, separators=(",", ":"))), len(said)))
    return found


def write_export(path: Path, clicks: int) -> tuple[int, int]:
    """An export with at least that many clicks; how many rows and clicks it has."""
    rng = np.random.default_rng(1)
    made = ways(3000, rng)
    per_row = sum(number for _, number in made) / len(made)
    rows = int(clicks / per_row) + 1
    subjects, users = max(10, rows // 40), max(10, rows // 60)
    total, metadata = 0, quoted(METADATA)
    with path.open("w") as file:
        file.write(HEADER)
        for start in range(0, rows, 100_000):
            n = min(100_000, rows - start)
            draw = zip(rng.integers(subjects, size=n).tolist(), (users * rng.random(n) ** 2).astype(int).tolist(),
                       rng.integers(len(made), size=n).tolist(), strict=True)  # fmt: skip
            lines = []
            for number, (subject, user, way) in enumerate(draw, start):
                data = quoted(f'{{"{subject}":{{"retired":null,"#id":"J{subject}","ra":{subject / 7:.6f}}}}}')
                lines.append(
                    f"{number},user{user},{user},b644753d0e3948f81dc2,10,GZ,16.55,2024-02-23 16:17:42 UTC,,,"
                    f"{metadata},{made[way][0]},{data},{subject}\n"
                )
                total += made[way][1]
            file.writelines(lines)
    return rows, total


def naive(export: Path) -> None:
    """What one would write in ten minutes: every row a dictionary, every vote a dictionary's entry."""
    counts: dict[tuple[str, str, str], int] = {}
    seen: set[tuple[str, str]] = set()
    with export.open(newline="") as file:
        for row in csv.DictReader(file):
            if (row["user_name"], row["subject_ids"]) in seen:
                continue
            seen.add((row["user_name"], row["subject_ids"]))
            for one in json.loads(row["annotations"]):
                key = (row["subject_ids"], one["task_label"], one["value"])
                counts[key] = counts.get(key, 0) + 1
    print(sum(counts.values()))


def ours(export: Path, weighting: str) -> None:
    """What tuningfork does."""
    out = export.with_name("votes.parquet")
    print(from_zooniverse(export, out, tree="gz2", weighting=weighting).n_clicks)  # type: ignore[arg-type]


def measured(export: Path, what: str) -> tuple[float, float, int]:
    """Seconds of processor time (others' load does not count), peak MiB and votes of one way, in its own process."""
    code = subprocess.run([sys.executable, __file__, "--run", what, str(export)], check=True, capture_output=True)
    votes, peak, seconds = code.stdout.split()[-3:]
    return float(seconds), int(peak) / 1024, int(votes)


def main() -> None:
    """Measure, and print one line per way and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, default=1_000_000)
    parser.add_argument("--full", action="store_true", help="10 million clicks")
    parser.add_argument("--run", nargs=2, metavar=("WAY", "EXPORT"), help=argparse.SUPPRESS)
    choice = parser.parse_args()
    if choice.run:
        way, export = choice.run
        naive(Path(export)) if way == "naive" else ours(Path(export), way)
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(used.ru_maxrss, used.ru_utime + used.ru_stime)
        return
    with tempfile.TemporaryDirectory() as folder:
        export = Path(folder) / "export.csv"
        rows, clicks = write_export(export, 10_000_000 if choice.full else choice.clicks)
        print(f"{clicks:,} clicks in {rows:,} rows, {export.stat().st_size / 1e6:,.0f} MB")
        results = {}
        for way, name in (("none", "from_zooniverse"), ("consistency", "... weighted"), ("naive", "csv + json loop")):
            seconds, peak, votes = results[way] = measured(export, way)
            print(f"{name:16} {clicks / seconds:11,.0f} clicks/s  {seconds:7.1f} s  peak {peak:6,.0f} MiB  {votes:,}")
        assert len({votes for _, _, votes in results.values()}) == 1, "the ways disagree"
        for way in ("none", "consistency"):
            speed, memory = results["naive"][0] / results[way][0], results[way][1] / results["naive"][1]
            print(f"{way}: {speed:.2f} times as fast as the loop, {memory:.2f} of its memory")
        print(
            f"peak {max(results['none'][1], results['consistency'][1]):,.0f} MiB (claim at 10 million clicks: < 2,048)"
        )


if __name__ == "__main__":
    main()
