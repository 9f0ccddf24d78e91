"""What the aggregator's database has said over the whole run: what was committed must never change."""

import contextlib
import sqlite3
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from fedloom import msgpack
from fedloom.wire import envelope
from fedloom.wire.messages import MAX_MANIFEST_BYTES, Manifest

_OVERHEAD = envelope.MAX_OVERHEAD_BYTES


class Round(NamedTuple):
    """A row of the table `rounds`."""

    version: int
    hash: bytes
    round: int
    attempt: int
    phase: str
    status: str
    opened_at: float
    closed_at: float | None


class Ledger:
    """Rounds, answers and models by their keys, as they were first seen; what disagrees later is a violation."""

    def __init__(self, database: Path) -> None:
        self.rounds: dict[int, Round] = {}
        self.updates: dict[tuple[int, bytes], tuple[bytes, str, int]] = {}
        """(manifest version, device) → digest, verdict, manifest version of the round that counts it."""
        self.models: dict[int, tuple[bytes, int]] = {}
        """Round that fused → the model's hash, and of how many devices it is."""
        self.violations: list[str] = []
        self._database = database
        self._chained: dict[int, bytes] = {}

    def read(self) -> None:
        """Take in what is there now; the aggregator may be running, or dead in the middle of something."""
        if not self._database.exists():
            return
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=10)) as base:
                base.execute("begin")
                manifests = self._read_rounds(base)
                self._read_updates(base)
                self._read_models(base)
        except sqlite3.OperationalError:
            return  # not laid out yet, or just being recovered by its owner
        for version, blob in manifests:
            self._chain(version, blob)

    def _read_rounds(self, base: sqlite3.Connection) -> list[tuple[int, bytes]]:
        columns = "manifest_version, manifest_hash, round, attempt, phase, status, opened_at, closed_at"
        for row in base.execute(f"select {columns} from rounds"):
            new = Round(*row)
            old = self.rounds.get(new.version)
            if old and (old[:5] != new[:5] or (old.status != "open" and old.status != new.status)):
                self.violations.append(f"I3: round {new.version} was {old}, and became {new}")
            self.rounds[new.version] = new
        known = max(self._chained, default=0)
        return list(base.execute("select manifest_version, manifest from rounds where manifest_version > ?", (known,)))

    def _read_updates(self, base: sqlite3.Connection) -> None:
        for version, device, *row in base.execute(
            "select manifest_version, device, digest, verdict, counted_in from updates"
        ):
            old = self.updates.setdefault((version, device), tuple(row))
            if old != tuple(row):
                self.violations.append(f"I3: the answer of {device.hex()} to manifest {version} has changed")

    def _read_models(self, base: sqlite3.Connection) -> None:
        for round_, hash_, devices in base.execute("select round, hash, devices from models"):
            old = self.models.setdefault(round_, (hash_, devices))
            if old != (hash_, devices):
                self.violations.append(f"I3: the model of round {round_} has changed")

    def _chain(self, version: int, blob: bytes) -> None:
        """Manifest versions have no gap, and each names the one before by its hash."""
        body = msgpack.decode(envelope.parse(blob, MAX_MANIFEST_BYTES + _OVERHEAD).clear(), Manifest)
        if body.version != version or sha256(blob).digest() != self.rounds[version].hash:
            self.violations.append(f"I3: manifest {version} is not the one that was committed")
        before = self._chained.get(version - 1)
        if before is not None and body.previous != before:
            self.violations.append(f"I3: manifest {version} does not follow {version - 1}")
        if before is None and self._chained:
            self.violations.append(f"I3: manifest {version - 1} is missing")
        self._chained[version] = sha256(blob).digest()
