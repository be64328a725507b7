"""Gather a catalogue in a child that is killed again and again: the program that the survivor's test starts.

python survivor.py URL CATALOG OUT RATES RATE LONGEST forks one child after the other; each runs the same gather, and is
killed with signal 9 after a random time below LONGEST s (0: never), counted from its first request on, until one comes
to its end. One line of JSON tells when each was killed (monotonic, s) and what the last one says.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from tuningfork.galaxy.catalog import Catalog
from tuningfork.network import Limits
from tuningfork.survey.gather import gather
from tuningfork.survey.service import connect
from tuningfork.survey.surveys import find_survey

WORKERS = 6


def life(url: str, catalog: Catalog, out: str, rates: str, rate: float, told: int) -> None:
    """One run of gather, from beginning to end, if nobody kills it."""
    survey = find_survey("sdss")
    limits = Limits(idle=5.0, total=10.0, first_wait=0.02, longest_wait=0.1)
    network = connect(rates, survey, url, rate=rate, limits=limits)
    done = gather(
        catalog, survey, out, width="32arcsec", pixels=64, url=url, workers=WORKERS, shard_size=64, network=network,
        progress=lambda *_: None,
    )  # fmt: skip
    os.write(told, f"{done.n_in} {done.n_done} {done.n_rejected}".encode())


def main(url: str, table: str, out: str, rates: str, rate: str, longest: str) -> None:
    """Kill, and start again."""
    catalog, draw, kills = Catalog.read(table), random.Random(0), []
    ledger = Path(out) / "gather" / "ledger.jsonl"
    while True:
        before = ledger.stat().st_size if ledger.exists() else 0
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                life(url, catalog, out, rates, float(rate), writing)
                os._exit(0)
            finally:
                os._exit(1)
        os.close(writing)
        if float(longest):
            limit = time.monotonic() + 20
            while time.monotonic() < limit and (ledger.stat().st_size if ledger.exists() else 0) == before:
                time.sleep(0.01)
                if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    break
            time.sleep(draw.uniform(0.1, float(longest)))
            os.kill(child, signal.SIGKILL)
            kills.append(time.monotonic())
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = os.read(reading, 100).decode()
        os.close(reading)
        if status == 0:
            kills = kills[:-1] if float(longest) else kills
            print(json.dumps({"kills": kills, "account": [int(part) for part in said.split()]}))
            return
        if status != -signal.SIGKILL:
            sys.exit("a run failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
