"""What explaining one galaxy costs, in calls of classify and in passes of the network, and where the time goes.

Everything is measured in one run, so that the ratios hold on other machines: the whole of ``explain`` (quick, or with
--thorough) as a command of its own with its start, one ``classify`` of the same picture likewise, and one picture
forward and backward through the network, in a batch of 32. CPU seconds are those of all threads; divided by the cores
they are what the wall clock would show on a machine that does nothing else, if the work were perfectly shared.

    python benchmarks/explain.py PICTURE [--model gz1] [--thorough] [--cores 2]
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def command(*words: str) -> tuple[float, float, str]:
    """Wall and CPU seconds of a command of tuningfork, and what it printed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    code = "from tuningfork.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def one_pass(model: str) -> float:
    """CPU seconds of one picture forward and backward, the best of three batches of 32."""
    import torch

    from tuningfork.model.card import find_model
    from tuningfork.model.weights import load

    net, _ = load(find_model(model))
    net.requires_grad_(False)
    x = torch.rand(32, len(net.bands), net.size, net.size, requires_grad=True)
    best = float("inf")
    for _ in range(4):  # the first warms up
        began = time.process_time()
        torch.autograd.grad(net(x).sum(), [x])
        best = min(best, (time.process_time() - began) / len(x))
    return best


def main() -> None:
    """Measure, and print the whole, its ratios and the shares of its parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture")
    parser.add_argument("--model", default="gz1")
    parser.add_argument("--thorough", action="store_true")
    parser.add_argument("--cores", type=int, default=2)
    choice = parser.parse_args()
    once = one_pass(choice.model)
    _, asked, _ = command("classify", choice.picture, "--model", choice.model, "--json")
    with tempfile.TemporaryDirectory() as place:
        page = Path(place) / "page.html"
        flags = ["--out", str(page), "--json", *(["--thorough"] if choice.thorough else [])]
        wall, spent, printed = command("explain", choice.model, "--galaxies", choice.picture, *flags)
        size = page.stat().st_size
    seconds = json.loads(printed)["seconds"]
    print(f"explain {choice.model}, one galaxy: {spent:.1f} CPU s, {wall:.1f} s by the clock, page {size / 1e6:.1f} MB")
    print(f"  shared by {choice.cores} cores that do nothing else: {spent / choice.cores:.1f} s at best")
    print(f"  = {spent / asked:.1f} times one classify ({asked:.1f} CPU s)")
    print(f"  = {spent / once:,.0f} pictures forward and backward ({1000 * once:.1f} CPU ms each)")
    start = wall - sum(seconds.values())
    for name, value in [("start", start), *seconds.items()]:
        print(f"  {name:14} {value:7.2f} s  {value / wall:5.0%}")


if __name__ == "__main__":
    main()
