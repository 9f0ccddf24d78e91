"""Everything that must survive: devices, rounds, answers and models, in one SQLite database with one writer.

Each method is one transaction, durable when it returns.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec
from sqlalchemy import Column, ColumnElement, Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from aggregator import tables as t
from aggregator.backup.leap import Leap, newest_leap
from aggregator.database import empty_log, open_database
from aggregator.keys import require_federation
from aggregator.lease import Lease
from aggregator.records import Answer, ClosedRound, DeviceRecord, NewModel, RoundRecord, SpoolEntry, Standing
from aggregator.upkeep.rows import ROUNDS_A_TURN, due_rounds, prune_rounds
from fedloom.errors import ConfigError, StoreError
from fedloom.suggest import closest
from fedloom.trust.certificates import serial_and_end

_close_round = update(t.rounds).where(t.rounds.c.manifest_version == bindparam("number"))
_keep_standing = insert(t.standings).prefix_with("OR REPLACE")
_erase_keys = update(t.rounds).where(t.rounds.c.round_key.is_not(None)).values(round_key=None)
"""Forward secrecy: secure_delete overwrites them, see also `Store.forget`."""
DATABASE = "aggregator.db"
ANOTHER_JOB = "another job was started"


class Store:
    """The database of one aggregator."""

    def __init__(self, path: Path, *, leads: bool = False) -> None:
        """Who `leads` is the aggregator itself: see `open_database`, and `aggregator.lease`.

        Raises:
            StoreError: damaged, of another version, or not to be opened.
        """
        self.path = path
        self.engine = open_database(path, leads=leads)
        self._lease: Lease | None = None
        if leads:
            self._lease = self._take_lease()
        self._data_version = self._read_data_version()

    def close(self) -> None:
        self.engine.dispose()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def devices(self) -> list[DeviceRecord]:
        """All devices, by name."""
        columns = [t.devices.c[name] for name in DeviceRecord._fields]
        with self.engine.connect() as connection:
            return [DeviceRecord(*row) for row in connection.execute(select(*columns).order_by(t.devices.c.name))]

    def add_device(self, device: DeviceRecord, certificate: bytes) -> None:
        """Remember a new device, and the certificate (DER) that it got.

        Raises:
            ConfigError: the name is taken.
        """
        row = {**device._asdict(), "created_at": time.time()}
        try:
            with self.engine.begin() as connection:
                connection.execute(insert(t.devices).values(row))
                connection.execute(insert(t.certificates).values(certificate_row(device.id, certificate)))
        except IntegrityError:
            raise ConfigError("device", "NAME", f"{device.name!r} is taken", "choose another name") from None

    def revoke_device(self, name: str) -> str:
        """Believe nothing more that this device says, named by its name or its id (hex); returns its name.

        Raises:
            ConfigError: there is no such device.
        """
        wanted = (t.devices.c.name == name) | is_id(t.devices.c.id, name)
        with self.exclusively() as connection:
            found = connection.scalar(select(t.devices.c.name).where(wanted))
            if found:
                connection.execute(update(t.devices).where(t.devices.c.name == found).values(revoked=True))
        if not found:
            near = closest(name, [device.name for device in self.devices()])  # slow: not while others wait to write
            remedy = f"did you mean {near!r}?" if near else "see: fedloom device list"
            raise ConfigError("device", "NAME", f"{name!r} is not known", remedy)
        return str(found)

    def was_changed_by_others(self) -> bool:
        """Whether another process (`fedloom device …`) has written since the last call.

        Raises:
            StoreError: it was another aggregator, which has taken over.
        """
        before, self._data_version = self._data_version, self._read_data_version()
        if before == self._data_version:
            return False
        if self._lease:
            with self.engine.connect() as connection:
                self._lease.verify(connection)
        return True

    def leap(self) -> Leap | None:
        """The versions of manifests that a restored state has left out, if it was restored."""
        with self.engine.connect() as connection:
            return newest_leap(connection)

    def begin_job(self, job: bytes, name: str, definition: bytes) -> int:
        """Start a run; returns the version of its first model, one above all of the same name.

        A round that another run has left open is closed, all keys are erased, and what it knew of devices is forgotten.
        """
        with self.exclusively() as connection:
            abandoned = {"status": "aborted", "reason": ANOTHER_JOB, "closed_at": time.time()}
            connection.execute(update(t.rounds).where(t.rounds.c.status == "open").values(abandoned))
            connection.execute(_erase_keys)
            connection.execute(delete(t.standings))
            newest = connection.scalar(select(func.max(t.models.c.version)).where(t.models.c.job_name == name))
            first = 0 if newest is None else newest + 1
            row = {"id": job, "name": name, "definition": definition, "first_version": first, "started_at": time.time()}
            connection.execute(insert(t.jobs).values(row))
        return first

    def add_answers(self, counted_in: int, answers: Sequence[Answer], entries: Sequence[SpoolEntry]) -> None:
        """Make answers durable, for the round that counts them; `entries` say where the accepted lie in its segment.

        Raises:
            StoreError: a device has answered its manifest already, or the database cannot be written.
        """
        places = {entry.key: entry for entry in entries}
        rows = [_answer_row(counted_in, answer, places.get(answer.key)) for answer in answers]
        with self.exclusively() as connection:
            connection.execute(insert(t.updates), rows)
            _write_standings(connection, [answer.standing for answer in answers if answer.standing])

    def turn(
        self,
        closed: ClosedRound | None,
        model: tuple[NewModel, Path] | None,
        opened: RoundRecord | None,
        job_name: str,
        standings: Sequence[Standing] = (),
    ) -> None:
        """Close a round, add its model and open the next, all or nothing; keys that open nothing more are erased."""
        with self.exclusively() as connection:
            if closed:
                _write_closed(connection, closed)
            if model:
                connection.execute(insert(t.models).values(_model_row(*model, job_name)))
            if opened:
                _write_opened(connection, opened)
            _write_standings(connection, standings)

    def prune(self, keep: int, first: Sequence[int] = ()) -> None:
        """Leave a line of rounds that are older than the newest `keep`: of those in `first`, else of the next few.

        Raises:
            StoreError: the database cannot be written.
        """
        with self.engine.connect() as connection:
            versions = list(first) or due_rounds(connection, keep)[:ROUNDS_A_TURN]
        if first or len(versions) == ROUNDS_A_TURN:
            with self.exclusively() as connection:
                prune_rounds(connection, versions)

    def forget(self) -> bool:
        """Leave no copy of erased keys in the write-ahead log; False while another process is in the way.

        Raises:
            StoreError: the database cannot be written.
        """
        try:
            return empty_log(self.engine)
        except SQLAlchemyError as error:
            raise StoreError(f"{self.path}: cannot be written ({getattr(error, 'orig', error)})") from error

    @contextmanager
    def exclusively(self) -> Iterator[Connection]:
        """A transaction in which what was read cannot be changed by another process before it is written.

        Raises:
            StoreError: nothing was written; what was to be durable is not, so the process must not go on.
        """
        try:
            with self.engine.begin() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                if self._lease:
                    self._lease.verify(connection)
                yield connection
        except SQLAlchemyError as error:
            raise StoreError(f"{self.path}: cannot be written ({getattr(error, 'orig', error)})") from error

    def _take_lease(self) -> Lease:
        with self.exclusively() as connection:
            return Lease.take(connection)

    def _read_data_version(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())


def open_store(state: Path, *, leads: bool = False) -> Store:
    """The database of a federation's state directory, which is made if it is not there.

    Raises:
        TrustError: there is no federation in `state`, or others may enter it.
        StoreError: the database is damaged, or of another version.
    """
    require_federation(state)
    return Store(state / DATABASE, leads=leads)


def is_id(column: Column[bytes], text: str) -> ColumnElement[bool]:
    """Whether an id is spelt like this, in hex."""
    return func.lower(func.hex(column)) == text


def certificate_row(device: bytes, certificate: bytes) -> dict[str, Any]:
    """The row of a certificate (DER) that was issued to a device."""
    serial, not_after = serial_and_end(certificate)
    return {"serial": f"{serial:x}", "device": device, "certificate": certificate, "not_after": not_after}


def _answer_row(counted_in: int, answer: Answer, place: SpoolEntry | None) -> dict[str, Any]:
    return {
        "manifest_version": answer.base,
        "device": answer.device,
        "digest": answer.digest,
        "verdict": answer.verdict.value,
        "reason": answer.reason,
        "samples": answer.samples,
        "train_loss": answer.train_loss,
        "size_bytes": answer.size_bytes,
        "spool_offset": place.offset if place else None,
        "spool_length": place.length if place else None,
        "counted_in": counted_in,
    }


def _write_closed(connection: Connection, closed: ClosedRound) -> None:
    metrics = msgspec.json.encode(closed.metrics) if closed.metrics else None
    row = {
        "number": closed.manifest_version,
        "status": closed.outcome,
        "reason": closed.reason,
        "metrics": metrics,
        "strategy_state": sha256(closed.strategy_state).digest() if closed.strategy_state else None,
        "build": closed.build,
        "closed_at": time.time(),
    }
    connection.execute(_close_round, row)
    connection.execute(_erase_keys.where(t.rounds.c.manifest_version < closed.keys_from))
    if metrics:
        of = select(t.rounds.c.job, t.rounds.c.model_version).where(
            t.rounds.c.manifest_version == closed.manifest_version
        )
        job, version = connection.execute(of).one()
        name = select(t.jobs.c.name).where(t.jobs.c.id == job).scalar_subquery()
        where = (t.models.c.job_name == name) & (t.models.c.version == version)
        connection.execute(update(t.models).where(where).values(metrics=metrics))


def _write_opened(connection: Connection, opened: RoundRecord) -> None:
    is_round = bool(opened.round_key)
    row = opened._asdict() | {
        "phase": opened.phase.value,
        "round_key": opened.round_key or None,
        "brief_key": opened.brief_key,
        "model_key": opened.model_key or None,
        "status": "open" if is_round else "done",
        "opened_at": time.time(),
    }
    invitations = row.pop("invitations")
    connection.execute(insert(t.rounds).values(row))
    if invitations:
        rows = [{"manifest_version": opened.manifest_version, **each._asdict()} for each in invitations]
        connection.execute(insert(t.invitations), rows)


def _write_standings(connection: Connection, standings: Sequence[Standing]) -> None:
    """Of one device's, the last counts."""
    if standings:
        encode = msgspec.json.encode
        rows = [each._asdict() | {"class_counts": encode(each.class_counts).decode()} for each in standings]
        connection.execute(_keep_standing, rows)


def _model_row(model: NewModel, path: Path, job_name: str) -> dict[str, Any]:
    return {
        "job_name": job_name,
        "version": model.model.version,
        "hash": model.hash,
        "path": path.name,
        "round": model.round,
        "devices": model.devices,
        "samples": model.samples,
    }
