"""Updates that one aggregator process accepts durably in a second: verified, opened, checked, fsynced, receipted.

python benchmarks/ingest.py [--mb N] [--skip-memory] [--json FILE] [--skip-peer]

The peer is the disk: the same bytes appended to a file, unseen, and fsynced in batches of the same size.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import core_alone
import environments
import report
import through_broker
from core_alone import BATCH
from prepared import Prepared, update_body
from processes import Failed
from report import Row
from synthetic import CLASSES, INPUTS
from work import SOFTMAX, Work

from aggregator.keys import SuiteName
from fedloom.link.config import MqttConfig

MODELS: dict[str, tuple[int, ...]] = {
    "31 KB": SOFTMAX,
    "200 KB": (INPUTS, 63, CLASSES),
    "801 KB": (INPUTS, 252, CLASSES),
}
SUITES: tuple[SuiteName, ...] = ("hybrid", "x25519")
MEMORY_DEVICES = (100, 1000, 10_000)
MAX_DEVICES = 1000


def devices_for(widths: tuple[int, ...], megabytes: int) -> int:
    """So many that their updates take about that much."""
    return max(BATCH, min(MAX_DEVICES, int(megabytes * 1000 / (Work(widths, 1, 1).model_kib * 1.024))))


def disk_s(directory: Path, work: Work) -> float:
    """Seconds to append and fsync the same bytes in batches of the same size."""
    batch = os.urandom(len(update_body(int(work.model_kib * 256)))) * BATCH
    began_s = time.perf_counter()
    descriptor = os.open(directory / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(-(-work.devices // BATCH)):
        os.write(descriptor, batch)
        os.fsync(descriptor)
    os.close(descriptor)
    took_s = (time.perf_counter() - began_s) * work.devices / (-(-work.devices // BATCH) * BATCH)
    (directory / "raw").unlink()
    return took_s


def alone_rows(case: str, scratch: Path, suite: SuiteName, work: Work, raw_s: float) -> list[Row]:
    """Without link and loop: where the time goes."""
    prepared = Prepared(scratch / "alone", suite, work.devices, MqttConfig("localhost"), work.as_job())
    core, opened = core_alone.begin(prepared)
    body = update_body(int(work.model_kib * 256))
    blobs = [prepared.update(sender, opened, body) for sender in prepared.senders]
    took_s = core_alone.ingest(core, prepared, blobs)
    core.close()
    if core.receipts != work.devices:
        raise Failed(f"{core.receipts} receipts for {work.devices} updates")
    steps = [Row(case, f"of which {step}, ms", 1000 * spent / work.devices) for step, spent in core.seconds.items()]
    return [*speed_rows(f"{case}, core alone", work, took_s, raw_s), *steps]


def broker_rows(case: str, scratch: Path, suite: SuiteName, work: Work, raw_s: float) -> list[Row]:
    """All of it."""
    took_s, processor_s = through_broker.ingest(scratch / "broker", suite, work)
    case = f"{case}, through the broker"
    return [
        *speed_rows(case, work, took_s, raw_s),
        Row(case, "of which the aggregator's processor, ms", 1000 * processor_s / work.devices),
    ]


def speed_rows(case: str, work: Work, took_s: float, raw_s: float) -> list[Row]:
    """Beside the disk; rates are the other way round."""
    rate = work.devices / took_s
    return [
        Row(case, "an update, ms", 1000 * took_s / work.devices, 1000 * raw_s / work.devices),
        Row(case, "updates/s", rate),
        Row(case, "MB/s", rate * work.model_kib * 1024 / 1e6),
    ]


def memory_rows(scratch: Path) -> list[Row]:
    """A fresh process for each: what a round of so many updates takes beyond what was there when it was opened."""
    rows = []
    for devices in MEMORY_DEVICES:
        arguments = [str(scratch / f"memory-{devices}"), str(devices), *map(str, SOFTMAX)]
        command = [sys.executable, core_alone.__file__, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(done.stderr)
        before_mib, peak_mib = map(float, done.stdout.split())
        case = f"a round of {devices:,} updates, 31 KB"
        rows += [
            Row(case, "peak RSS, MiB", peak_mib),
            Row(case, "of which since its opening, MiB", peak_mib - before_mib),
        ]
    return rows


def main() -> int:
    """Exit status 1 if an update got no receipt."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--mb", type=int, default=60, help="of updates in each case (default: %(default)s)")
    parser.add_argument("--skip-memory", action="store_true", help="leave out the rounds of up to 10,000 updates")
    environments.add_options(parser)
    report.add_option(parser)
    options = parser.parse_args()
    environments.prepare()
    print(environments.headline(Path(sys.executable), None))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="fedloom-ingest-", ignore_cleanup_errors=True) as name:
        try:
            for suite in SUITES:
                for size, widths in MODELS.items():
                    work = Work(widths, rounds=2, devices=devices_for(widths, options.mb))
                    scratch, case = Path(name) / f"{suite}-{size}", f"{size}, {suite}"
                    scratch.mkdir()
                    raw_s = disk_s(scratch, work)
                    rows += alone_rows(case, scratch, suite, work, raw_s)
                    rows += broker_rows(case, scratch, suite, work, raw_s)
            rows += [] if options.skip_memory else memory_rows(Path(name))
        except Failed as error:
            print(f"ingest: {error}", file=sys.stderr)
            return 1
        finally:
            report.publish(rows, options.json, peer="disk")
    return 0


if __name__ == "__main__":
    sys.exit(main())
