"""How long a user waits for nothing: `tuningfork --help` and `import tuningfork`, beside a bare Python in the same run.

And for the first picture: import predict, open every model of a set, prove them, and answer once about one picture.

python benchmarks/start.py [--repeat 15] [--models FOLDER]   (a set of models; by default the shipped ones)
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tuningfork.model.card import SHIPPED


def seconds(command: list[str], repeat: int) -> float:
    """The median wall time of a command."""
    took = []
    for _ in range(repeat):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


ANSWER = """
import sys
from pathlib import Path
import numpy as np
import tuningfork.predict.predict
from tuningfork.model.card import Card
from tuningfork.predict.engine import open_engines
folders = [card.parent for card in sorted(Path(sys.argv[1]).glob("*/card.json"))]
card = Card.load(folders[0])
open_engines(folders, sys.argv[2], 1).run_all(np.zeros((1, len(card.bands), card.size, card.size), np.uint8))
"""


def main() -> None:
    """Print each time and its ratio to a bare Python."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--models", type=Path, default=SHIPPED)
    repeat, models = parser.parse_args().repeat, parser.parse_args().models
    beside = Path(sys.executable).with_name("tuningfork")
    command = str(beside) if beside.exists() else shutil.which("tuningfork") or "tuningfork"
    bare = seconds([sys.executable, "-c", "pass"], repeat)
    print(f"{'python -c pass':24} {bare * 1000:6.0f} ms")
    for name, line in {
        "import tuningfork": [sys.executable, "-c", "import tuningfork"],
        "tuningfork --help": [command, "--help"],
    }.items():
        took = seconds(line, repeat)
        print(f"{name:24} {took * 1000:6.0f} ms = {took / bare:.1f} x bare python (claim: < 300 ms)")
    n = len(list(models.glob("*/card.json")))
    for engine in ("onnxruntime", "openvino") if n else ():
        took = seconds([sys.executable, "-c", ANSWER, str(models), engine], repeat)
        print(f"{f'first picture, {n} models':24} {took * 1000:6.0f} ms with {engine} (claim: < 1000 ms)")


if __name__ == "__main__":
    main()
