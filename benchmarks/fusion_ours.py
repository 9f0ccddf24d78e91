"""One case of `fusion.py` on our side, in a process of its own."""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np
from fusion_case import READING, Case, from_arguments, report, resident_mib

from aggregator.records import Answer
from aggregator.spool import Spool, SpooledUpdates
from fedloom import msgpack
from fedloom.job.choices import StrategyChoice
from fedloom.wire.messages import Update, Verdict
from strategies import ClientUpdate, Updates, UpdatesInMemory, create
from strategies.base import Matrix

SAMPLES = 10
Floors = dict[str, Callable[[], object]]


def deltas(case: Case) -> Matrix:
    """(n, p), a row at a time: float64 of all would be twice the memory."""
    rng = np.random.default_rng(1)
    matrix = np.empty((case.updates, case.weights), np.float32)
    for row in matrix:
        rng.standard_normal(dtype=np.float32, out=row)
    matrix.flags.writeable = False  # so that blocks of it need no copy
    return matrix


def in_memory(case: Case) -> tuple[Updates, Floors]:
    """The updates, and one pass over the same bytes."""
    matrix = deltas(case)
    made = [ClientUpdate(number.to_bytes(16, "big"), SAMPLES, row) for number, row in enumerate(matrix)]
    return UpdatesInMemory(made), {READING: lambda: [row.sum() for row in matrix]}


def spooled(case: Case, directory: Path) -> tuple[Updates, Floors]:
    """The updates in a segment as the aggregator writes it, and one pass over its bytes, or two."""
    spool = Spool(directory / "spool")
    segment = spool.segment(bytes(16), 1, 1)
    rng, entries = np.random.default_rng(1), []
    for number in range(case.updates):
        vector = rng.standard_normal(case.weights, np.float32)
        body = msgpack.encode(Update(SAMPLES, 1, 5.0, vector.tobytes(), b"", ""))
        answer = Answer(number.to_bytes(16, "big"), bytes(32), Verdict.ACCEPTED, "", SAMPLES, encoding=1, body=body)
        entries += spool.append(segment, [answer])

    def read(is_checked: bool) -> None:
        buffer = np.empty(case.weights, np.uint32)  # of any bits: a sum of floats would overflow
        with segment.open("rb", buffering=0) as file:
            while file.readinto(buffer.data):
                np.add.reduce(buffer, dtype=np.uint32)
                if is_checked:
                    crc32(buffer.data)

    floors: Floors = {READING: lambda: read(False), "reading once and checksums, s": lambda: read(True)}
    return SpooledUpdates(segment, entries, case.weights), floors


def main() -> None:
    """Arguments: see `Case`."""
    case = from_arguments(sys.argv[1:])
    options = {"f": case.attackers} if case.attackers else {}
    strategy = create(StrategyChoice(case.rule, options), "benchmark")
    empty_mib = resident_mib()
    with tempfile.TemporaryDirectory(prefix="fedloom-fusion-") as name:
        updates, floors = in_memory(case) if case.source == "memory" else spooled(case, Path(name))
        weights = np.zeros(case.weights, np.float32)
        state = strategy.initial_state(case.weights)
        report(empty_mib, lambda: strategy.fuse(weights, updates, state), floors)


if __name__ == "__main__":
    main()
