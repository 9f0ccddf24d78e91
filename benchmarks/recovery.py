"""From exec of a killed aggregator, with updates in its spool, to its first receipt for a device that sends again.

python benchmarks/recovery.py [--devices N] [--repeats N] [--json FILE] [--skip-peer]
"""

import argparse
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import environments
import processes
import report
from prepared import Prepared, update_body
from processes import Failed
from report import Row
from through_broker import Crowd, processor_s, start_aggregator
from work import SOFTMAX, Work

from fedloom.link.config import MqttConfig
from simulation.broker import start_broker

AIM_S = 1.0
NO_PEER = "starts anew"


class Times(NamedTuple):
    """Seconds from exec to the receipt."""

    wall: float
    processor: float


def recover(scratch: Path, devices: int, repeats: int) -> list[Times]:
    """Kill the aggregator in an open round, again and again; one device has not answered, so the round stays open."""
    work = Work(SOFTMAX, rounds=2, devices=devices + 1)
    with start_broker(scratch) as broker:
        config = MqttConfig(broker.host, broker.port)
        prepared = Prepared(scratch / "ours", "hybrid", work.devices, config, work.as_job())
        process, crowd = start_aggregator(prepared, scratch), Crowd(prepared, config)
        try:
            opened, body = crowd.join_round(), update_body(int(work.model_kib * 256))
            blobs = [prepared.update(sender, opened, body) for sender in prepared.senders[:-1]]
            crowd.send(blobs)
            found = []
            for number in range(repeats):
                process.send_signal(signal.SIGKILL)
                process.wait()
                began_s = time.monotonic()
                process = start_aggregator(prepared, scratch)
                receipt_s = crowd.await_receipt(prepared.topics.up(prepared.senders[number].id), blobs[number])
                found.append(Times(receipt_s - began_s, processor_s(process.pid)))
            return found
        finally:
            crowd.link.close()
            processes.end([process])


def main() -> int:
    """Exit status 1 if the aggregator did not come back."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--devices", type=int, default=1000, help="whose updates are in the spool (default: %(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=10, help="kills (default: %(default)s)")
    environments.add_options(parser)
    report.add_option(parser)
    options = parser.parse_args()
    environments.prepare()
    print(environments.headline(Path(sys.executable), None))
    with tempfile.TemporaryDirectory(prefix="fedloom-recovery-", ignore_cleanup_errors=True) as name:
        try:
            found = recover(Path(name), options.devices, options.repeats)
        except Failed as error:
            print(f"recovery: {error}", file=sys.stderr)
            return 1
    case = f"{options.devices:,} updates in the spool"
    walls = [each.wall for each in found]
    rows = [
        Row(case, "exec to first receipt, median, s", statistics.median(walls), aim=AIM_S, note=NO_PEER),
        Row(case, "most, s", max(walls), note=NO_PEER),
        Row(case, "of its processor, median, s", statistics.median(each.processor for each in found), note=NO_PEER),
    ]
    report.publish(rows, options.json, peer="flwr")
    return 0


if __name__ == "__main__":
    sys.exit(main())
