"""Wall time of a round on loopback, with everything that a round has but hardly any training; beside flwr's deployment.

python benchmarks/round_latency.py [--devices 2,10,100] [--rounds N] [--json FILE] [--peer-python PATH | --skip-peer]
"""

import argparse
import statistics
import sys
import tempfile
from itertools import pairwise, product
from pathlib import Path

import environments
import ours
import peer
import report
import synthetic
from processes import Failed
from side import Side
from work import SOFTMAX, TWO_NN, Work

SAMPLES = 10
"""One step a round."""
WARM_UP = 2
"""First rounds, which also load code and data."""
PEER_DEVICES = 10
"""flwr is measured with at most so many: a SuperNode takes 257 MiB, and a process more for each task."""
PEER_NOTE = "not run: a SuperNode takes 257 MiB"
AIMS_MS = {2: 20.0, 10: 50.0, 100: 300.0}
"""Median with the smaller model, by the number of devices."""


def take_rounds(side: Side, work: Work) -> list[float]:
    """Milliseconds from a round's opening to the next one's, without the warm-up."""
    with side:
        side.start_run(work)
        for number in range(work.devices):
            side.start_device(number)
        opened = [side.await_rounds(count) for count in range(1, work.rounds + 1)][-1][: work.rounds]
    return [1000.0 * (after - before) for before, after in pairwise(opened)][WARM_UP:]


def p95(times: list[float]) -> float:
    """Interpolated 95th percentile."""
    return statistics.quantiles(times, n=20, method="inclusive")[-1]


def rows(work: Work, us: list[float], them: list[float] | None, note: str) -> list[report.Row]:
    """Median and 95th percentile; the aim is for the median of the smaller model."""
    case = f"{work.devices} devices, {work.model_kib:.0f} KiB"
    aim = AIMS_MS.get(work.devices) if work.widths == SOFTMAX else None
    median = report.Row(case, "median, ms", statistics.median(us), statistics.median(them) if them else None, aim, note)
    return [median, report.Row(case, "95th percentile, ms", p95(us), p95(them) if them else None, None, note)]


def measure(work: Work, python: Path | None, scratch: Path, sources: list[Path]) -> list[report.Row]:
    """One case, on both sides where that is possible."""
    name = f"{work.devices}-{work.model_kib:.0f}"
    print(f"measuring {work.devices} devices, {work.model_kib:.0f} KiB", file=sys.stderr)
    us = take_rounds(ours.Deployment(scratch / f"{name}-ours", Path(sys.executable), sources), work)
    if python is None:
        return rows(work, us, None, "skipped")
    if work.devices > PEER_DEVICES:
        return rows(work, us, None, PEER_NOTE)
    return rows(work, us, take_rounds(peer.Deployment(scratch / f"{name}-peer", python, sources), work), "")


def main() -> int:
    """Exit status 1 if a side failed; a missed aim is a finding, not a failure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--devices", default="2,10,100", help="numbers of devices (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="measured rounds of each case (default: %(default)s)")
    environments.add_options(parser)
    report.add_option(parser)
    options = parser.parse_args()
    environments.prepare()
    theirs = environments.peer_python(options)
    print(environments.headline(Path(sys.executable), theirs))
    counts = [int(count) for count in options.devices.split(",")]
    found: list[report.Row] = []
    with tempfile.TemporaryDirectory(prefix="fedloom-latency-", ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        sources = [synthetic.write(scratch / f"{number}.npz", SAMPLES, number) for number in range(max(counts))]
        try:
            for widths, count in product((SOFTMAX, TWO_NN), counts):
                work = Work(widths, rounds=WARM_UP + options.rounds + 1, devices=count)
                found += measure(work, theirs, scratch, sources[:count])
        except Failed as error:
            print(f"round_latency: {error}", file=sys.stderr)
            return 1
        finally:
            report.publish(found, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
