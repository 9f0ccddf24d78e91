"""The invariants of the protocol, checked against what a run has left on disk, in logs and on the wire.

I1  a fused model is exactly the fusion of the accepted updates, each of which its device has sent
I2  an update whose receipt a device saw is in the fused model, or in a round that was aborted
I3  a committed round never disappears and never changes
I4  a device accepts only manifests that the aggregator has signed, each newer than the one before
I5  every round is done or aborted, and the next one opens, within deadline and grace
I6  no key, weight or name crosses the broker in clear, no key or weight appears in a log
I9  no value that is not finite enters a model
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adversary.fleet import CANARIES, DEADLINE_S, DEVICES, Heard, HostileFleet, secret_files
from aggregator import spool
from aggregator.events import Fuse
from aggregator.fusion import fuse
from aggregator.notices import RoundClosed, RoundOpened
from aggregator.records import RoundRecord, SpoolEntry
from aggregator.states import States
from edge_client.outbox import StateDirectory
from fedloom.errors import DataError
from fedloom.job import Job, load_job
from fedloom.learning.model import Model
from fedloom.learning.model_file import load
from fedloom.wire.messages import Phase
from strategies import create

GRACE_S = 5.0
"""What a busy machine may add to a deadline."""
PIECE_BYTES = 12
_EVENTS = re.compile(
    r"update\.sent digest=(?P<sent>\w+)|receipt\.came verdict=(?P<verdict>\w+)"
    r"|manifest\.accepted version=(?P<version>\d+) run=(?P<run>\w+) phase=(?P<phase>\w+) "
    r"round=(?P<round>\d+) attempt=(?P<attempt>\d+)"
)


class Round(NamedTuple):
    """A row of the aggregator's table of rounds."""

    version: int
    hash: bytes
    job: bytes
    round: int
    attempt: int
    phase: str
    status: str
    model_version: int | None
    strategy_state: bytes | None


class Row(NamedTuple):
    """A row of its table of updates: a device's valid answer."""

    version: int
    device: bytes
    digest: bytes
    verdict: str
    samples: int
    offset: int | None
    length: int | None


class Books(NamedTuple):
    """What the aggregator has written down."""

    rounds: Mapping[int, Round]
    """By the version of the manifest."""
    updates: Sequence[Row]
    models: Mapping[tuple[str, int], bytes]
    """Hashes."""

    @property
    def newest(self) -> int:
        return max(self.rounds, default=0)

    def closed(self, after: int) -> list[Round]:
        """Rounds that are over, of a version above `after`."""
        return [each for version, each in self.rounds.items() if version > after and each.status != "open"]

    def accepted(self, version: int) -> list[Row]:
        """By device."""
        rows = [each for each in self.updates if (each.version, each.verdict) == (version, "accepted")]
        return sorted(rows, key=lambda row: row.device)


def read_books(state: Path) -> Books:
    """One consistent view, of a database that is being written."""
    with closing(sqlite3.connect(f"file:{state / 'aggregator.db'}?mode=ro", uri=True, timeout=10)) as connection:
        connection.execute("begin")
        rounds = connection.execute(
            "select manifest_version, manifest_hash, job, round, attempt, phase, status, model_version, strategy_state"
            " from rounds order by manifest_version"
        ).fetchall()
        updates = connection.execute(
            "select manifest_version, device, digest, verdict, samples, spool_offset, spool_length from updates"
        ).fetchall()
        models = connection.execute("select job_name, version, hash from models").fetchall()
    return Books(
        {row[0]: Round(*row) for row in rounds},
        [Row(*row) for row in updates],
        {(name, version): digest for name, version, digest in models},
    )


class Auditor:
    """Checks a fleet again and again; each time what is new since the last time, against all that was known then."""

    def __init__(self, fleet: HostileFleet) -> None:
        self._fleet = fleet
        self._books = Books({}, (), {})
        self._offsets = dict.fromkeys(DEVICES, 0)
        self._sent = dict.fromkeys(DEVICES, "")
        self._versions = dict.fromkeys(DEVICES, 0)
        self._grepped: dict[Path, int] = {}

    def check(self, heard: Sequence[Heard]) -> None:
        """All invariants; `heard` are the notices since the last check.

        Raises:
            AssertionError: names the invariant that is broken.
        """
        logs = {device: self._new_lines(device) for device in DEVICES}  # before the books: these know more
        books = read_books(self._fleet.state)
        fresh = books.closed(self._books.newest - 1)
        self._check_committed(books)
        models = self._check_fusions(books, fresh)
        self._check_logs(books, logs)
        self._check_states(books)
        check_times(heard)
        self._check_secrecy(models, heard)
        self._books = books

    def _check_committed(self, books: Books) -> None:
        for version, before in self._books.rounds.items():
            now = books.rounds.get(version)
            if before.status == "open" and now:
                now = now._replace(status="open", strategy_state=before.strategy_state)
            assert now == before, f"I3: round {version} was {before}, and is {now}"
        assert books.models.items() >= self._books.models.items(), "I3: a model has changed or gone"

    def _check_fusions(self, books: Books, rounds: Iterable[Round]) -> list[Model]:
        job, models = load_job(self._fleet.job), []
        newest = books.rounds[books.newest].job
        for each in rounds:
            rows = books.accepted(each.version)
            for row in rows:
                own = self._fleet.proxy.published[row.device.hex()]
                assert row.digest[:16] in own, f"I1: round {each.version} took an update that its device never sent"
            assert len({row.digest for row in rows}) == len(rows), f"I1: round {each.version} took an update twice"
            if each.phase == Phase.TRAIN and each.status == "done" and each.job == newest:
                models.append(self._recompute(books, each, rows, job))
        return models

    def _recompute(self, books: Books, done: Round, rows: Sequence[Row], job: Job) -> Model:
        """I1 and I9, for one round."""
        assert done.model_version is not None
        segment = self._fleet.state / "spool" / done.job.hex() / f"r{done.round:07d}-a{done.attempt:04d}.spool"
        entries = [SpoolEntry(row.device, row.samples, row.offset or 0, row.length or 0) for row in rows]
        assert len(list(spool.read(segment, entries))) == len(rows) > 0, f"I1: round {done.version} has no updates"
        directory = self._fleet.state / "models" / job.name
        before, after = (_finite(directory / f"v{done.model_version + more:04d}.fedloom") for more in (0, 1))
        state = States(directory).load(_strategy_state(books, done))
        order = Fuse(_record(done), before.weights, state)
        fused = fuse(order, job, create(job.strategy, ""), segment, entries)
        assert fused.weights is not None
        assert fused.weights.tobytes() == after.weights.tobytes(), f"I1: round {done.version} is another fusion"
        return after

    def _new_lines(self, device: str) -> str:
        path = self._fleet.log(device)
        with path.open("rb") as file:
            file.seek(self._offsets[device])
            whole = file.read().rpartition(b"\n")[0]
        self._offsets[device] += len(whole)
        return whole.decode("utf-8")

    def _check_logs(self, books: Books, logs: Mapping[str, str]) -> None:
        """I2 and I4: what devices have seen is what is in the books."""
        accepted = {(row.device.hex(), row.digest.hex()[:8]) for row in books.updates if row.verdict == "accepted"}
        for device, text in logs.items():
            for found in _EVENTS.finditer(text):
                self._sent[device] = found["sent"] or self._sent[device]
                if found["verdict"] == "accepted":
                    seen = device, self._sent[device]
                    assert seen in accepted, f"I2: {device} has a receipt for {seen[1]}, which is not in the books"
                if found["version"]:
                    self._check_accepted(device, found, books)

    def _check_accepted(self, device: str, found: re.Match[str], books: Books) -> None:
        version = int(found["version"])
        is_again = version == self._versions[device]  # a device that has been started again
        assert version > self._versions[device] or is_again, f"I4: {device} went back to manifest {version}"
        self._versions[device] = version
        real = books.rounds.get(version)
        assert real is not None, f"I4: {device} accepted manifest {version}, which was never committed"
        said = bytes.fromhex(found["run"]), found["phase"], int(found["round"]), int(found["attempt"])
        assert said == (real.job, real.phase, real.round, real.attempt), f"I4: {device} accepted another {version}"

    def _check_states(self, books: Books) -> None:
        """I4: by the hash, too."""
        for device in DEVICES:
            state = StateDirectory(self._fleet.state_of(device)).read().state
            if state is None or state.manifest_version not in books.rounds:
                continue  # newer than our view
            real = books.rounds[state.manifest_version]
            assert state.manifest_hash == real.hash, f"I4: {device} believes a manifest that is not ours"

    def _check_secrecy(self, models: Sequence[Model], heard: Sequence[Heard]) -> None:
        """I6: in what clients have handed to the broker since the last check, and in what was logged since."""
        keys = secret_files(self._fleet.directory)
        assert len(keys) >= 2 * len(DEVICES)
        secrets = [each for key in keys for each in (key, key.hex().encode())]
        secrets += pieces(models[-1].weights.tobytes()) if models else []
        names = [name.encode() for name in CANARIES]  # a device's own log may name its job
        published, logs = self._fleet.proxy.captured(), list(self._new_logs())
        assert any(published) or not heard, "nothing was captured"
        leaked = [secret[:8].hex() for secret in secrets for stream in (*published, *logs) if secret in stream]
        leaked += [name.decode() for name in names for stream in published if name in stream]
        assert not leaked, f"I6: {leaked}"

    def _new_logs(self) -> Iterator[bytes]:
        for path in sorted(self._fleet.directory.glob("*.log")):
            with path.open("rb") as file:
                file.seek(self._grepped.get(path, 0))
                text = file.read()
            self._grepped[path] = self._grepped.get(path, 0) + len(text)
            yield text


def check_times(heard: Sequence[Heard]) -> None:
    """I5: from each notice about rounds to the next it does not take too long."""
    about = [each for each in heard if isinstance(each.notice, RoundOpened | RoundClosed)]
    for one, other in pairwise(about):
        took_s = other.at_s - one.at_s
        assert took_s <= DEADLINE_S + GRACE_S, f"I5: {took_s:.1f} s from {one.notice} to {other.notice}"
        assert type(one.notice) is not type(other.notice), f"I5: {one.notice} is followed by {other.notice}"


def pieces(secret: bytes) -> list[bytes]:
    """Stretches of a secret, each long and varied enough not to occur by chance."""
    cut = [secret[at : at + PIECE_BYTES] for at in range(0, len(secret) - PIECE_BYTES + 1, PIECE_BYTES)]
    return [each for each in cut if len(set(each)) >= 6]


def _finite(path: Path) -> Model:
    """I9: nothing else can be read back as a model."""
    try:
        model = load(path)
    except DataError as error:
        raise AssertionError(f"I9: {error}") from error
    assert np.isfinite(model.weights).all(), f"I9: {path} is not finite"
    return model


def _record(done: Round) -> RoundRecord:
    """As much of it as a fusion looks at."""
    return RoundRecord(
        manifest_version=done.version,
        manifest_hash=done.hash,
        manifest=b"",
        job=done.job,
        round=done.round,
        attempt=done.attempt,
        phase=Phase(done.phase),
        round_key=b"",
        brief_key=b"",
        model_key=b"",
        model_version=done.model_version,
        target=0,
        invitations=(),
    )


def _strategy_state(books: Books, done: Round) -> bytes:
    """SHA-256 of it as the newest round that was done before left it."""
    earlier = [
        each.strategy_state
        for version, each in sorted(books.rounds.items())
        if version < done.version and each.job == done.job and each.strategy_state is not None
    ]
    return (earlier[-1] or b"") if earlier else b""
