"""Cost of protecting an update: milliseconds on device and aggregator, share of a round, bytes on the wire.

python benchmarks/crypto_cost.py [--runs N] [--rounds N] [--json FILE] [--skip-peer]
"""

import argparse
import platform
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import cryptography
import environments
import ours
import report
import synthetic
from crypto_paths import Bench, Paths, Times
from cryptography.hazmat.backends.openssl import backend
from overheard import Listener
from processes import Failed
from report import Row
from round_latency import SAMPLES, WARM_UP, take_rounds
from synthetic import CLASSES, INPUTS
from work import Work

from aggregator.keys import SUITES, SuiteName
from fedloom.wire.envelope import Type

WIDTHS = (INPUTS, 126, CLASSES)
"""100,180 weights: 400 kB of float32."""
WEIGHTS = sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(WIDTHS))
DEVICES = 2
AIM_MS = 2.0
LISTENED_ROUNDS = 5
NAMES: dict[SuiteName, str] = {"hybrid": "ML-KEM-768 + X25519", "x25519": "X25519"}


def cost_rows(bench: Bench, suites: dict[SuiteName, Paths], peers: dict[str, Paths]) -> list[Row]:
    """Milliseconds an update: each suite beside each peer, the aim for the median; then what is left without keys."""
    rows = []
    for suite, paths in suites.items():
        for side in Paths._fields:
            mine: Times = getattr(paths, side)
            rows += [Row(NAMES[suite], f"{side}, median, ms", mine.median, aim=AIM_MS)]
            rows += [Row(NAMES[suite], f"{side}, least, ms", mine.least)]
            rows += [Row(NAMES[suite], f"{side}, most, ms", mine.most)]
            rows += [
                Row(NAMES[suite], f"{side}, median, ms; beside {name}", mine.median, getattr(peer, side).median)
                for name, peer in peers.items()
            ]
    plain = bench.unprotected()
    return [
        *rows,
        *(Row("no cryptography", f"{side}, median, ms", getattr(plain, side).median) for side in plain._fields),
    ]


def step_rows(bench: Bench) -> list[Row]:
    """What the hybrid's milliseconds are made of."""
    return [Row("of which", f"{step}, ms", times.median) for step, times in bench.steps(SUITES["hybrid"]).items()]


def round_rows(paths: Paths, scratch: Path, sources: list[Path], rounds: int) -> list[Row]:
    """A round of the local fleet with hardly any training, and the share in it of protecting its updates."""
    work = Work(WIDTHS, rounds=WARM_UP + rounds + 1, devices=DEVICES)
    deployment = ours.Deployment(scratch / "round", Path(sys.executable), sources)
    times = sorted(take_rounds(deployment, work))
    median = times[len(times) // 2]
    spent = paths.device.median + DEVICES * paths.aggregator.median  # the devices work side by side
    case = f"round, {DEVICES} devices"
    return [
        Row(case, "median, ms", median),
        Row(case, "of that, protecting updates, ms", spent),
        Row(case, "share, %", 100.0 * spent / median),
    ]


def byte_rows(suite: SuiteName, scratch: Path, sources: list[Path]) -> list[Row]:
    """What a broker sees beyond 4 bytes a weight."""
    work = Work(WIDTHS, rounds=LISTENED_ROUNDS, devices=DEVICES)
    deployment = ours.Deployment(scratch / suite, Path(sys.executable), sources, suite=suite)
    with deployment as fleet, Listener(fleet.address) as heard:
        fleet.start_run(work)
        for number in range(DEVICES):
            fleet.start_device(number)
        fleet.await_done()
    update = heard.envelope_bytes(Type.UPDATE)
    body = heard.plain_bytes(Type.UPDATE) - 4 * WEIGHTS
    frames = heard.frame_bytes()
    control = {kind: heard.size(kind) for kind in (Type.MANIFEST, Type.TASK, Type.RECEIPT)}
    total = update + body + frames + sum(control.values())
    figures = {
        "update: header, signature, seal": update,
        "update: counts and loss": body,
        "update: frames": frames,
        "update: all of these, % of it": 100.0 * (update + body + frames) / (4 * WEIGHTS),
        **{f"{kind.name.lower()}: whole": size for kind, size in control.items()},
        "a device and round: all of these": total,
        "a device and round: % of update and model": 100.0 * total / (8 * WEIGHTS),
        "a connection: presence, whole": heard.size(Type.PRESENCE),
    }
    return [Row(NAMES[suite], f"{figure}" if "%" in figure else f"{figure}, bytes", n) for figure, n in figures.items()]


def machine() -> str:
    """Processor, what of it helps, and the libraries."""
    facts = dict(
        (part.strip() for part in line.split(":", 1))
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    )
    flags = {"aes", "vaes", "sha_ni", "sha2", "avx2", "avx512f"} & set(
        facts.get("flags", facts.get("Features", "")).split()
    )
    name = facts.get("model name", platform.machine())
    libraries = f"cryptography {cryptography.__version__} on {backend.openssl_version_text()}"
    return f"{name} ({', '.join(sorted(flags)) or 'no cryptographic instructions'}), {libraries}"


def main() -> int:
    """Exit status 1 if the fleet failed; a missed aim is a finding, not a failure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=1000, help="of each step (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="measured rounds of the fleet (default: %(default)s)")
    environments.add_options(parser)  # `make bench` hands the same to every benchmark; our peers need no environment
    report.add_option(parser)
    options = parser.parse_args()
    environments.prepare()
    print(f"{environments.headline(Path(sys.executable), None)}\n{machine()}\n{WEIGHTS:,} float32 weights an update")
    bench = Bench(WEIGHTS, options.runs)
    suites = {suite: bench.protected(SUITES[suite]) for suite in NAMES}
    peers = {} if options.skip_peer else {"AES-256-GCM alone": bench.aes_gcm(), "Fernet": bench.fernet()}
    rows = cost_rows(bench, suites, peers) + step_rows(bench)
    with tempfile.TemporaryDirectory(prefix="fedloom-crypto-", ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        sources = [synthetic.write(scratch / f"{number}.npz", SAMPLES, number) for number in range(DEVICES)]
        try:
            rows += round_rows(suites["hybrid"], scratch, sources, options.rounds)
            for suite in NAMES:
                rows += byte_rows(suite, scratch, sources)
        except Failed as error:
            print(f"crypto_cost: {error}", file=sys.stderr)
            return 1
        finally:
            report.publish(rows, options.json, peer="peer")
    return 0


if __name__ == "__main__":
    sys.exit(main())
