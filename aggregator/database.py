"""Opens the aggregator's SQLite database: durable at each commit, private, checked, and of this version's schema."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from aggregator import row_checks, tables
from aggregator.backup.last import FILE as LAST_BACKUP
from aggregator.backup.last import remedy
from aggregator.copying import copy_database
from aggregator.log_check import log_fault
from aggregator.schema_check import schema_faults
from fedloom.errors import StoreError
from fedloom.failpoints import failpoint
from fedloom.files import locked, sync_directory

BUSY_TIMEOUT_S = 10.0
_PRAGMAS = (
    "auto_vacuum = INCREMENTAL",  # before the first table is made: `fedloom aggregator gc` gives space back
    "journal_mode = WAL",
    "synchronous = FULL",
    "secure_delete = ON",
    "foreign_keys = ON",
    "trusted_schema = ON",  # rows' checksums are a function of ours
)
_PRIMARY = 0xFF
"""The part of SQLite's error codes that names the kind."""
_DISK = "free or repair the disk (df, dmesg), and try again; what it has kept is newer than any backup"
_NOT_DAMAGED = {
    sqlite3.SQLITE_FULL: _DISK,
    sqlite3.SQLITE_IOERR: _DISK,
    sqlite3.SQLITE_READONLY: "see that the disk and the directory can be written, and run as the user that owns it",
    sqlite3.SQLITE_CANTOPEN: "see that it is a file, that the directory can be written, and by whom: ls -la",
    sqlite3.SQLITE_PERM: "run as the user that owns it",
    sqlite3.SQLITE_BUSY: "another process is writing to it; try again",
    sqlite3.SQLITE_LOCKED: "another process is writing to it; try again",
}
"""What helps, by kind of error."""

log = logging.getLogger(__name__)


def open_database(path: Path, *, leads: bool = False) -> Engine:
    """The database at `path`, created with mode 0600 if it is not there.

    Who `leads`, the aggregator, examines every row, and brings an older schema forward.

    Raises:
        StoreError: it is damaged, of another version, or cannot be opened.
    """
    try:
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            sync_directory(path.parent)
        engine = sqlalchemy.create_engine("sqlite://", creator=lambda: _connect(path), poolclass=StaticPool)
        with locked(path.parent):
            _examine_log(path)
            _make_ready(engine, path, leads=leads)
    except (OSError, UnicodeDecodeError, sqlite3.Error, SQLAlchemyError) as error:
        cause = getattr(error, "orig", None) or error
        raise StoreError(f"{path}: cannot be used ({cause}); {_helps(cause, path.parent)}") from None
    return engine


def _helps(cause: BaseException, state: Path) -> str:
    """A backup only where the file is damaged: what a full disk has kept is newer than any."""
    if isinstance(cause, OSError):
        return "check the path, its owner and the space on its disk"
    code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & _PRIMARY
    return _NOT_DAMAGED.get(code) or remedy(state)


@contextmanager
def frozen(path: Path) -> Iterator[Connection]:
    """A database that nobody writes to, and that is not to change.

    Raises:
        StoreError: it is not to be read.
    """

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        row_checks.register(connection)
        return connection

    engine = sqlalchemy.create_engine("sqlite://", creator=connect, poolclass=StaticPool)
    try:
        with engine.connect() as connection:
            yield connection
    except (UnicodeDecodeError, sqlite3.Error, SQLAlchemyError) as error:
        raise StoreError(f"{path}: cannot be read ({getattr(error, 'orig', None) or error})") from None
    finally:
        engine.dispose()


def faults(connection: Connection) -> Iterator[str]:
    """All that is damaged in a database of this version: its pages, its schema, its rows."""
    try:
        for line in connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars():
            if line != "ok":
                yield str(line)
        yield from schema_faults(connection)
        yield from row_checks.damaged_rows(connection, tables.metadata)
    except (UnicodeDecodeError, SQLAlchemyError) as error:  # SQLite tells names as they are, and they may be damaged
        yield f"it cannot be read ({getattr(error, 'orig', None) or error})"


def empty_log(engine: Engine) -> bool:
    """Move the write-ahead log into the database and cut it: until then one or both hold what was overwritten.

    Returns False, at once, where another process is reading or writing: then nothing has changed.
    """
    failpoint("aggregator.log-checkpoint")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        try:
            is_busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
    return not is_busy


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
    row_checks.register(connection)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _examine_log(path: Path) -> None:
    if fault := log_fault(path):
        raise StoreError(f"{path}-wal: is damaged ({fault}); {remedy(path.parent)}")


def _make_ready(engine: Engine, path: Path, *, leads: bool) -> None:
    """Create the tables if there are none; else refuse a damaged database, or one of another version."""
    with engine.connect() as connection:
        state = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if state != "ok":
            raise StoreError(f"{path}: is damaged ({state}); {remedy(path.parent)}")
        schema = _schema(connection, path)
        if schema is None:
            _refuse_reset(path)
            _create(connection)
        elif schema != tables.SCHEMA_VERSION:
            _bring_forward(connection, path, schema, leads=leads)
        if leads and (fault := next(faults(connection), None)):
            raise StoreError(f"{path}: is damaged ({fault}); {remedy(path.parent)}")


def _refuse_reset(path: Path) -> None:
    """What has models, updates or a backup had a database: a new one would forget its devices and rounds."""
    state = path.parent
    traces = (each for pattern in ("models/*/*", "spool/*/*", LAST_BACKUP) for each in state.glob(pattern))
    if trace := next(traces, None):
        raise StoreError(f"{path}: is gone or empty, though {trace} is there; {remedy(state)}")


def _schema(connection: Connection, path: Path) -> int | None:
    """The version of the tables that are there, None if none are."""
    if not sqlalchemy.inspect(connection).has_table(tables.meta.name):
        return None
    found = connection.scalar(select(tables.meta.c.value).where(tables.meta.c.key == "schema"))
    if found is None or not found.isdecimal():
        raise StoreError(f"{path}: is damaged (it does not say what schema it has); {remedy(path.parent)}")
    return int(found)


def _create(connection: Connection) -> None:
    connection.rollback()
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # or each table would be a transaction of its own
    tables.metadata.create_all(connection)
    connection.execute(tables.meta.insert().values(key="schema", value=str(tables.SCHEMA_VERSION)))
    connection.commit()


def _bring_forward(connection: Connection, path: Path, schema: int, *, leads: bool) -> None:
    """All of it is one transaction, behind a copy of what was there."""
    from aggregator.migrations import OLDEST, migrate  # Alembic is slow to import, and seldom needed

    problem = f"{path}: schema {schema}, this software has {tables.SCHEMA_VERSION}"
    if not OLDEST <= schema < tables.SCHEMA_VERSION:
        raise StoreError(f"{problem}; run the version that wrote it")
    if not leads:
        raise StoreError(f"{problem}; start the aggregator, which brings it forward: fedloom aggregator run")
    kept = path.with_name(f"{path.name}.schema-{schema}")
    connection.rollback()
    copy_database(path, kept)
    connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        migrate(connection, schema, tables.SCHEMA_VERSION)
        if connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
            raise StoreError(
                f"{problem}; a row refers to one that is missing, so nothing was changed; restore a backup"
            )
        connection.commit()
    finally:
        connection.rollback()
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
    connection.exec_driver_sql("VACUUM")  # for auto_vacuum, which a database gets when it is written anew
    connection.rollback()
    log.warning("store.migrated path=%s from=%d to=%d copy=%s", path, schema, tables.SCHEMA_VERSION, kept)
