"""How long a user waits for nothing: `tuningfork --help` and `import tuningfork`, beside a bare Python in the same run.

python benchmarks/start.py [--repeat 15]
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path


def seconds(command: list[str], repeat: int) -> float:
    """The median wall time of a command."""
    took = []
    for _ in range(repeat):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def main() -> None:
    """Print each time and its ratio to a bare Python."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=15)
    repeat = parser.parse_args().repeat
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


if __name__ == "__main__":
    main()
