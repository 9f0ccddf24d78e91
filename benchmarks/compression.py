"""Accuracy against bytes: a simulated federation for each encoding, with error feedback, on real data.

python benchmarks/compression.py [--seeds N] [--rounds N] [--jobs NAMES] [--only NAMES] [--cohort N] [--no-feedback]
    [--json FILE] [--svg FILE]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import environments
import msgspec
import numpy as np
import report
from compression_plot import Point, plot
from numpy.typing import NDArray

from aggregator.notices import RoundClosed
from fedloom import msgpack
from fedloom.compression import Encoding, EncodingOptions, options_of
from fedloom.job import Job
from fedloom.job.rounds import Stopping
from fedloom.learning.model import Model
from fedloom.trust.seal import Recipient, SealKey, SealSuite
from fedloom.trust.signing import SigningKey
from fedloom.wire.encoding import decode, encode, encoded_bytes
from fedloom.wire.envelope import Header, Type, write_sealed
from fedloom.wire.messages import Phase, Update
from simulation.cohort.crew import OneHand
from simulation.cohort.federation import Federation
from simulation.demo import Case, TestSets, load, watch_case
from simulation.digits import digits_case
from simulation.population.base import Population
from simulation.population.files import of_parts

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CASES = {"watch": watch_case, "digits": digits_case}
AIM_POINTS = 1.0
"""What accuracy may cost."""
AIM_RATIO = 30.0
MILLION = 2**20


class Variant(NamedTuple):
    """An encoding with its options."""

    encoding: Encoding
    bits: int = 0
    share: float = 0.0

    @property
    def options(self) -> EncodingOptions:
        return options_of(self.encoding, self.bits, self.share)

    @property
    def name(self) -> str:
        """As in a job file, short."""
        options = self.options
        share = f" {100 * options.share:g} %" if options.share else ""
        return f"{self.encoding}{share}" + (f", {options.bits} bits" if options.bits else "").replace("1 bits", "1 bit")


VARIANTS = (
    Variant("float32"),
    Variant("float16"),
    Variant("int8"),
    Variant("int4"),
    *(Variant("eden", bits=bits) for bits in (4, 2, 1)),
    Variant("sign"),
    *(Variant("topk", share=share) for share in (0.1, 0.05, 0.02, 0.01)),
)


class Fleet(NamedTuple):
    """How the devices take part."""

    cohort: int
    """So many devices a round, drawn anew each time; 0 is all."""
    has_feedback: bool
    """They keep what an encoding loses; if not, each is as one that takes part once."""


class Result(NamedTuple):
    """What came of a variant in a job."""

    variant: Variant
    unseen: NDArray[np.float64]
    """(seeds,) final accuracy on what no device has."""
    holdout: NDArray[np.float64]
    """(seeds,) on everybody's own hold-out."""
    curve: NDArray[np.float64]
    """(seeds, rounds) of that in each round."""
    bytes: int
    """Of a device's vector in a round."""


def federate(job: Job, people: Population, variant: Variant, fleet: Fleet, seed: int) -> Iterator[Model]:
    """The model after each of the job's rounds."""
    replace = msgspec.structs.replace
    how = {"encoding": variant.encoding, "bits": variant.bits, "share": variant.share}
    update = replace(job.update, error_feedback=fleet.has_feedback, **how)
    cohort = fleet.cohort / people.clients if fleet.cohort else 1.0
    rounds = replace(job.rounds, cohort=cohort, min_updates=fleet.cohort or job.rounds.min_updates, evaluate=0.0)
    given = replace(job, seed=seed, update=update, rounds=rounds, stopping=Stopping())
    federation = Federation(given, Path("benchmark"), people, OneHand)
    for notice in federation.run():
        if isinstance(notice, RoundClosed) and (notice.phase, notice.outcome) == (Phase.TRAIN, "done"):
            yield federation.model


def measure(job: Job, people: Population, tests: TestSets, variant: Variant, fleet: Fleet, seeds: int) -> Result:
    """A federation for each seed."""
    curves = [
        [tests.judge(variant.name, model).accuracies for model in federate(job, people, variant, fleet, seed)]
        for seed in range(1, seeds + 1)
    ]
    unseen, holdout = np.array(curves).transpose(2, 0, 1)
    size = encoded_bytes(variant.encoding, job.shared_layout.size, variant.options)
    return Result(variant, unseen[:, -1], holdout[:, -1], holdout, size)


def cost_ms(variant: Variant) -> tuple[float, float]:
    """Processor time to encode and to decode 2²⁰ weights; the best of five."""
    vector, out = np.random.default_rng(1).normal(size=MILLION).astype(np.float32), np.empty(MILLION, np.float32)
    best = [float("inf"), float("inf")]
    for _ in range(5):
        began_s = time.process_time()
        data = encode(vector, variant.encoding, variant.options, 1)
        middle_s = time.process_time()
        decode(data, variant.encoding, out)
        times = middle_s - began_s, time.process_time() - middle_s
        best = [min(pair) for pair in zip(best, times, strict=True)]
    return 1000 * best[0], 1000 * best[1]


def sealed_bytes(vector_bytes: int) -> int:
    """Of the whole update, with the default suite and without metrics."""
    update = Update(100, 10, 0.5, bytes(vector_bytes), b"", "")
    recipient = Recipient(SealSuite.HYBRID, SealKey.generate(SealSuite.HYBRID).public)
    header = Header(Type.UPDATE, bytes(16), bytes(16), bytes(16))
    return len(write_sealed(header, msgpack.encode(update), SigningKey.generate(), recipient))


def rounds_to(curve: NDArray[np.float64], accuracy: float) -> float:
    """The first round in which the accuracy is reached, mean over seeds; the rounds that there are where it is not."""
    reached = np.concatenate([curve >= accuracy, np.ones((len(curve), 1), bool)], axis=1)
    return float(np.mean(np.minimum(reached.argmax(axis=1) + 1, curve.shape[1])))


def points(values: Sequence[float], reference: Sequence[float]) -> float:
    """How far the mean is below that of float32, in points."""
    return 100 * float(np.mean(reference) - np.mean(values))


def table(name: str, results: Sequence[Result]) -> str:
    """In Markdown, the first result is what the others are compared with."""
    first = results[0]
    accuracy = "unseen, %", "beside", "hold-out, %", "beside"
    columns = name, "bytes", "ratio", "sealed", *accuracy, "rounds", "encode, ms", "decode, ms"
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for each in results:
        encode_ms, decode_ms = cost_ms(each.variant)
        accuracies = " | ".join(
            f"{100 * np.mean(values):.2f} ± {100 * np.std(values):.2f} | {_signed(points(values, reference))}"
            for values, reference in ((each.unseen, first.unseen), (each.holdout, first.holdout))
        )
        ratio, rounds = first.bytes / each.bytes, rounds_to(each.curve, first.holdout.mean() - AIM_POINTS / 100)
        lines.append(
            f"| {each.variant.name} | {each.bytes:,} | {ratio:.1f} | {sealed_bytes(each.bytes):,} | {accuracies} "
            f"| {rounds:.0f} | {encode_ms:.1f} | {decode_ms:.1f} |"
        )
    return "\n".join(lines)


def _signed(lost: float) -> str:
    return f"{0.0 - round(lost, 2):+.2f}"  # never −0


def rows(name: str, results: Sequence[Result]) -> list[report.Row]:
    """As all benchmarks write them."""
    first, found = results[0], []
    for each in results[1:]:
        case = f"{name}: {each.variant.name}"
        found.append(report.Row(case, "bytes a device and round", each.bytes, first.bytes, first.bytes / AIM_RATIO))
        found += [
            report.Row(case, f"points of accuracy lost, {place}", points(values, reference), None, AIM_POINTS)
            for place, values, reference in (
                ("unseen", each.unseen, first.unseen),
                ("hold-out", each.holdout, first.holdout),
            )
        ]
    return found


def _points(results: Sequence[Result]) -> list[Point]:
    def of(values: Sequence[float]) -> tuple[float, float]:
        return 100 * float(np.mean(values)), 100 * float(np.std(values))

    return [Point(each.variant.name, each.bytes, of(each.unseen), of(each.holdout)) for each in results]


def run(case: Case, variants: Sequence[Variant], fleet: Fleet, seeds: int, rounds: int) -> list[Result]:
    """All variants of one job."""
    job = case.job
    if rounds:
        job = msgspec.structs.replace(job, rounds=msgspec.structs.replace(job.rounds, count=rounds))
    devices, tests = load(case)
    people, results = of_parts(devices), []
    for variant in variants:
        results.append(measure(job, people, tests, variant, fleet, seeds))
        print(f"  {variant.name}: {results[-1].unseen} {results[-1].holdout}", file=sys.stderr, flush=True)
    return results


def main() -> int:
    """Nothing is compared with a limit: the table says what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=5, help="federations an encoding (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=0, help="instead of the job's own")
    parser.add_argument("--cohort", type=int, default=0, help="devices a round; default: all")
    parser.add_argument("--no-feedback", action="store_true", help="devices forget what an encoding loses")
    parser.add_argument("--jobs", default="watch,digits", help="default: %(default)s")
    parser.add_argument("--only", default="", help="encodings beside float32; default: all")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="also draw accuracy against bytes here")
    report.add_option(parser)
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else [each.encoding for each in VARIANTS]
    variants = [each for each in VARIANTS if each.encoding in ("float32", *wanted)]
    print(environments.headline(Path(sys.executable), None))
    found: dict[str, list[Result]] = {}
    with tempfile.TemporaryDirectory(prefix="fedloom-compression-") as directory:
        for name in options.jobs.split(","):
            case, fleet = CASES[name](EXAMPLES, Path(directory)), Fleet(options.cohort, not options.no_feedback)
            found[name] = run(case, variants, fleet, options.seeds, options.rounds)
            print(table(name, found[name]), flush=True)
    if options.svg:
        options.svg.write_text(plot({name: _points(results) for name, results in found.items()}), encoding="utf-8")
    if options.json:
        text = report.as_json([row for name, results in found.items() for row in rows(name, results)])
        options.json.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
