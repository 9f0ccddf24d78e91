"""A large model down and a large update up over slow links that lose a fifth of all messages, on a virtual clock.

    python benchmarks/transfer.py [--megabytes 50]

The cores are the real ones, the wire is `slow_link`. Each row: bytes sent over bytes needed (1.25 is the floor where a
fifth of what is sent is lost), the time over that of a link that loses nothing, and the most that waited in the queue
of whoever was sending. `cut`: the connection breaks every two minutes (and every ten seconds at 100 kB/s and more), the
device's process dies at every tenth cut; on the slowest link chunks and frames are 16 KiB then.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import NamedTuple

from slow_link import Clock, Downloading, Uploading

from edge_client.state import OutboxEntry
from fedloom.job.updates import CHUNK_BYTES
from fedloom.wire.chunks import MAX_FRAME, chunk_hashes
from fedloom.wire.messages import ModelRef

RATES = (1e3, 1e4, 1e5, 1e6)
LOSS = 0.2
SMALL = 16 * 1024
LIMIT = 20.0
"""Times the ideal time: then the transfer counts as failed."""


class Row(NamedTuple):
    """What a transfer has cost."""

    what: str
    rate: float
    is_cut: bool
    ratio: float
    slowness: float
    peak_bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--megabytes", type=float, default=50.0)
    blob = Random(1).randbytes(int(parser.parse_args().megabytes * 1e6))
    print("| what | link, kB/s | cuts | bytes sent / needed | time / ideal | most in a queue, KiB | CPU, s |")
    print("|---|---|---|---|---|---|---|")
    for transfer in (down, up):
        for rate in RATES:
            for is_cut in (False, True):
                began_s = time.process_time()
                row = transfer(blob, rate, is_cut)
                figures = f"{row.ratio:.3f} | {row.slowness:.2f} | {row.peak_bytes / 1024:.0f}"
                cuts = "cut" if is_cut else "–"
                print(f"| {row.what} | {rate / 1e3:g} | {cuts} | {figures} | {time.process_time() - began_s:.1f} |")


def down(blob: bytes, rate: float, is_cut: bool) -> Row:
    """A model to a device."""
    size = SMALL if is_cut and rate < 1e4 else CHUNK_BYTES
    ref = ModelRef(1, bytes(32), sha256(blob).digest(), len(blob), size, chunk_hashes(blob, size))
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        loading = Downloading(clock, rate, LOSS, ref, blob, Path(folder, "download"))
        if is_cut:
            _break(clock, rate, loading.cut, loading.boot)
        clock.run(lambda: bool(loading.model), LIMIT * len(blob) / rate)
        if loading.model != blob:
            raise SystemExit(f"the model did not arrive at {rate:g} B/s within {clock.now_s:.0f} s")
        return _row("model down", blob, rate, is_cut, clock, loading.pipe.sent_bytes, loading.pipe.peak_bytes)


def up(blob: bytes, rate: float, is_cut: bool) -> Row:
    """An update to the aggregator."""
    entry = OutboxEntry(sha256(blob).digest(), bytes(32), bytes(16), False, blob)
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        max_frame = SMALL if is_cut and rate < 1e4 else MAX_FRAME
        sending = Uploading(clock, rate, LOSS, entry, Path(folder, "incoming"), max_frame)
        if is_cut:
            _break(clock, rate, sending.cut, sending.boot)
        clock.run(lambda: sending.is_done, LIMIT * len(blob) / rate)
        if sending.blob != blob or not sending.is_done:
            raise SystemExit(f"the update did not arrive at {rate:g} B/s within {clock.now_s:.0f} s")
        return _row("update up", blob, rate, is_cut, clock, sending.up.sent_bytes, sending.up.peak_bytes)


def _break(clock: Clock, rate: float, cut: Callable[[], None], boot: Callable[[], None]) -> None:
    every_s, cuts = (10.0 if rate >= 1e5 else 120.0), 0

    def again() -> None:
        nonlocal cuts
        cuts += 1
        (boot if cuts % 10 == 0 else cut)()
        clock.after(every_s, again)

    clock.after(every_s, again)


def _row(what: str, blob: bytes, rate: float, is_cut: bool, clock: Clock, sent_bytes: int, peak_bytes: int) -> Row:
    return Row(what, rate, is_cut, sent_bytes / len(blob), clock.now_s / (len(blob) / rate), peak_bytes)


if __name__ == "__main__":
    main()
