"""`fedloom aggregator check`: reads everything that a state directory holds, and compares it with its checksums.

Beside a running aggregator, which may prune a file in the meantime: what is gone then was old.
"""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import select

from aggregator import history, keys
from aggregator import tables as t
from aggregator.backup.last import remedy
from aggregator.copying import digest_of
from aggregator.damage import DamagedError
from aggregator.database import faults
from aggregator.exchange.journal_files import DIRECTORY, open_run, read_told, unseal
from aggregator.fleet import Device, unsound_remedy
from aggregator.spool import read, segment_name
from aggregator.store import Store, open_store
from fedloom.errors import DataError, StoreError
from fedloom.health import host
from fedloom.health.findings import Finding, fail, guarded, ok, warn
from fedloom.learning.model_file import load
from fedloom.trust.documents import Root
from fedloom.wire.model_blob import plain_model

_OLD_MODEL = "nothing goes on from it: take it out of a backup, or delete it"
_NEWEST_MODEL = "restart the aggregator, which makes it again from the spool if it can"
_OPEN_SEGMENT = "the open round will be aborted and done again; look at the disk"
_OLD_SEGMENT = "that round cannot be recomputed any more, nothing else needs it; look at the disk"
_JOURNAL = "the app's run cannot be carried on: start it without --resume, and a new one begins; look at the disk"
_OLD_JOURNAL = "that run is over, nothing needs it: fedloom aggregator gc; look at the disk"
_STATE = "restart the aggregator, which makes it again from the spool if it can"


class _Segment(NamedTuple):
    """A round whose updates may be in the spool."""

    version: int
    name: str
    is_open: bool


def check(state: Path) -> Iterator[Finding]:
    """Everything, what is wrong with each part or that it is sound."""
    yield from guarded("keys", _keys(state))
    yield from guarded("database", _database(state))


def _keys(state: Path) -> Iterator[Finding]:
    yield host.private("state's privacy", state)
    yield host.private("keys' privacy", state / "keys")
    own = keys.load(state)
    yield ok("keys", f"aggregator {own.id.hex()}, root {own.root.version}")


def _database(state: Path) -> Iterator[Finding]:
    with open_store(state) as store:
        with store.engine.connect() as connection:
            found = [fail("database", fault, remedy(state)) for fault in faults(connection)]
        yield from found or [ok("database", f"{store.path}: pages, definitions and rows are sound")]
        if not found:
            yield from _or_sound("credentials", _credentials(store, keys.load(state).root), "all are this federation's")
            yield from _or_sound("models", _models(store, state / "models"))
            yield from _or_sound("spool", _spool(store, state / "spool"))
            yield from _or_sound("journals", _journals(store, state / DIRECTORY))
            yield from _or_sound("strategy's states", _states(state / "models"))


def _or_sound(what: str, found: Iterator[Finding], sound: str = "all files are sound") -> Iterator[Finding]:
    is_sound = True
    for finding in found:
        is_sound = False
        yield finding
    if is_sound:
        yield ok(what, sound)


def _credentials(store: Store, root: Root) -> Iterator[Finding]:
    """Each device's, whose signature the aggregator checks only when the device speaks."""
    for record in store.devices():
        if not record.revoked and not Device(record, root).is_sound:
            seen = f"{store.path}: table devices, {record.name!r}: the credential is not this federation's"
            yield fail("credentials", seen, unsound_remedy(record.name))


def _models(store: Store, directory: Path) -> Iterator[Finding]:
    """Each file of a version against its recorded hash; of the newest one, that it is there."""
    job = history.newest_job(store)
    columns = (t.models.c.job_name, t.models.c.version, t.models.c.path, t.models.c.hash)
    with store.engine.connect() as connection:
        rows = connection.execute(select(*columns).order_by(t.models.c.job_name, t.models.c.version.desc())).all()
    newest = next((row for row in rows if job and row.job_name == job[1]), None)
    for row in rows:
        path = directory / row.job_name / row.path
        problem = _model_problem(path, row.hash)
        if problem and (path.exists() or row is newest):
            yield fail("models", f"{path}: {problem}", _NEWEST_MODEL if row is newest else _OLD_MODEL)


def _model_problem(path: Path, recorded: bytes) -> str:
    try:
        model = load(path)
    except DataError as error:
        return error.problem
    found = sha256(plain_model(model.weights, model.standardiser)).digest()
    return "" if found == recorded else f"its hash is {found.hex()}, not {recorded.hex()}"


def _spool(store: Store, directory: Path) -> Iterator[Finding]:
    """Each entry of the segments that are there against its checksum; the open round's must be there."""
    for segment in _segments(store):
        path = directory / segment.name
        for entry in history.entries(store, segment.version):
            try:
                for _ in read(path, [entry]):
                    pass
            except StoreError as error:
                if segment.is_open:
                    yield fail("spool", str(error), _OPEN_SEGMENT)
                elif path.exists():
                    yield warn("spool", str(error), _OLD_SEGMENT)


def _segments(store: Store) -> list[_Segment]:
    own = t.rounds.c
    columns = (own.manifest_version, own.job, own.round, own.attempt, own.status)
    spooled = select(t.updates.c.counted_in).where(t.updates.c.spool_offset.is_not(None))
    query = select(*columns).where(own.manifest_version.in_(spooled)).order_by(own.manifest_version)
    with store.engine.connect() as connection:
        rows = connection.execute(query).all()
    return [_Segment(row[0], segment_name(row[1], row[2], row[3]), row[4] == "open") for row in rows]


def _journals(store: Store, directory: Path) -> Iterator[Finding]:
    """Each file against its checksum; of the run that can be carried on, that all are there."""
    run = open_run(store)
    own = directory / run.id.hex() if run else None
    for path in sorted(directory.glob("*/[!.]*")):
        try:
            _ = read_told(path) if path.suffix == ".told" else unseal(path)
        except FileNotFoundError:
            continue
        except DamagedError:
            seen = f"{path}: is damaged"
            yield fail("journals", seen, _JOURNAL) if path.parent == own else warn("journals", seen, _OLD_JOURNAL)
    if run and own and own.is_dir():
        for path in run.needed(directory):
            if not (path.exists() or path.with_suffix(".told").exists()) and own.is_dir():  # it may be over by now
                yield fail("journals", f"{path}: is missing", _JOURNAL)


def _states(directory: Path) -> Iterator[Finding]:
    """What strategies remember: files that are named by their SHA-256."""
    for path in sorted(directory.glob("*/*.state")):
        try:
            is_sound = digest_of(path).hex() == path.stem
        except FileNotFoundError:
            continue
        if not is_sound:
            yield fail("strategy's states", f"{path}: is damaged, its SHA-256 is not its name", _STATE)
