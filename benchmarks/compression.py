"""Accuracy against bytes: a whole federation in this process for each encoding, with error feedback, on real data.

python benchmarks/compression.py [--seeds N] [--rounds N] [--jobs watch,digits] [--only NAMES] [--json FILE]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import environments
import msgspec
import numpy as np
import report

from fedloom.compression import Encoding, EncodingOptions, options_of
from fedloom.job import Job
from fedloom.learning.dataset import Dataset
from fedloom.learning.initialise import initial_weights
from fedloom.learning.layout import Vector
from fedloom.learning.model import Model
from fedloom.learning.standardise import Moments
from fedloom.learning.trainer import Trainer
from fedloom.wire.encoding import decode, encode, encoded_bytes
from simulation.baselines import pool
from simulation.demo import Case, TestSets, load, watch_case
from simulation.digits import digits_case
from strategies import ClientUpdate, UpdatesInMemory, create

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
    Variant("sign"),
    *(Variant("eden", bits) for bits in (1, 2, 4)),
    *(Variant("topk", bits, share) for share in (0.1, 0.05, 0.02, 0.01) for bits in (1, 4)),
    Variant("topk", 8, 0.05),
)


class Result(NamedTuple):
    """What came of a variant in a job."""

    variant: Variant
    unseen: tuple[float, ...]
    """Accuracy of each seed on what no device has."""
    holdout: tuple[float, ...]
    """On everybody's own hold-out."""
    bytes: int
    """Of a device's vector in a round."""


def federate(job: Job, devices: Sequence[Dataset], variant: Variant, seed: int) -> Vector:
    """The weights after the job's rounds; every device takes part in each."""
    strategy = create(job.strategy, "benchmark")
    weights = initial_weights(job.model, np.random.default_rng(seed))
    state, trainer = strategy.initial_state(weights.size), Trainer(job.model, job.training)
    residuals = [np.zeros_like(weights) for _ in devices]
    for round_number in range(job.rounds.count):
        updates = []
        for number, data in enumerate(devices):
            draw = int.from_bytes(sha256(f"{seed}/{number}/{round_number}".encode()).digest()[:4], "big")
            fit = trainer.fit(weights, data, np.random.default_rng(draw))
            meant = fit.weights - weights + residuals[number]
            sent = np.empty_like(meant)
            decode(encode(meant, variant.encoding, variant.options, draw), variant.encoding, sent)
            np.subtract(meant, sent, out=residuals[number])
            updates.append(ClientUpdate(bytes([number]), fit.samples, sent))
        weights, state = strategy.fuse(weights, UpdatesInMemory(updates), state)
    return weights


def measure(job: Job, devices: Sequence[Dataset], tests: TestSets, variant: Variant, seeds: int) -> Result:
    """A federation for each seed."""
    standardiser = Moments.of(pool(devices).x).standardiser() if job.data.standardise else None
    inputs = [Dataset(standardiser.apply(data.x), data.y) if standardiser else data for data in devices]
    accuracies = []
    for seed in range(1, seeds + 1):
        weights = federate(job, inputs, variant, seed)
        model = Model(
            spec=job.model,
            loss=job.training.loss,
            weights=weights,
            standardiser=standardiser,
            classes=job.data.classes,
        )
        accuracies.append(tests.judge(variant.name, model).accuracies)
    unseen, holdout = zip(*accuracies, strict=True)
    size = encoded_bytes(variant.encoding, job.model.layout().size, variant.options)
    return Result(variant, unseen, holdout, size)


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


def points(values: Sequence[float], reference: Sequence[float]) -> float:
    """How far the mean is below that of float32, in points."""
    return 100 * float(np.mean(reference) - np.mean(values))


def table(name: str, results: Sequence[Result]) -> str:
    """In Markdown, the first result is what the others are compared with."""
    first = results[0]
    lines = [
        f"| {name} | bytes | ratio | unseen, % | beside | hold-out, % | beside | encode, ms | decode, ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for each in results:
        encode_ms, decode_ms = cost_ms(each.variant)
        accuracies = " | ".join(
            f"{100 * np.mean(values):.2f} ± {100 * np.std(values):.2f} | {-points(values, reference):+.2f}"
            for values, reference in ((each.unseen, first.unseen), (each.holdout, first.holdout))
        )
        ratio = first.bytes / each.bytes
        lines.append(
            f"| {each.variant.name} | {each.bytes:,} | {ratio:.1f} | {accuracies} | {encode_ms:.1f} | {decode_ms:.1f} |"
        )
    return "\n".join(lines)


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


def run(case: Case, variants: Sequence[Variant], seeds: int, rounds: int) -> list[Result]:
    """All variants of one job."""
    job = case.job
    if rounds:
        job = msgspec.structs.replace(job, rounds=msgspec.structs.replace(job.rounds, count=rounds))
    devices, tests = load(case)
    results = []
    for variant in variants:
        results.append(measure(job, [device.train for device in devices], tests, variant, seeds))
        print(f"  {variant.name}: {results[-1].unseen} {results[-1].holdout}", file=sys.stderr, flush=True)
    return results


def main() -> int:
    """Nothing is compared with a limit: the table says what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=5, help="federations an encoding (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=0, help="instead of the job's own")
    parser.add_argument("--jobs", default="watch,digits", help="default: %(default)s")
    parser.add_argument("--only", default="", help="encodings beside float32; default: all")
    report.add_option(parser)
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else [each.encoding for each in VARIANTS]
    variants = [each for each in VARIANTS if each.encoding in ("float32", *wanted)]
    print(environments.headline(Path(sys.executable), None))
    found: dict[str, list[Result]] = {}
    with tempfile.TemporaryDirectory(prefix="fedloom-compression-") as directory:
        for name in options.jobs.split(","):
            found[name] = run(CASES[name](EXAMPLES, Path(directory)), variants, options.seeds, options.rounds)
            print(table(name, found[name]), flush=True)
    if options.json:
        text = report.as_json([row for name, results in found.items() for row in rows(name, results)])
        options.json.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
