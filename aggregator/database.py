"""Opens the aggregator's SQLite database: durable at each commit, private, checked."""

import os
import sqlite3
from pathlib import Path

import sqlalchemy
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from aggregator import tables
from fedloom.errors import StoreError
from fedloom.files import locked, sync_directory

_PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON", "foreign_keys = ON")
BUSY_TIMEOUT_S = 10.0


def open_database(path: Path) -> Engine:
    """The database at `path`, created with mode 0600 if it is not there.

    Raises:
        StoreError: it is damaged, of another version, or cannot be opened.
    """
    is_new = not path.exists()
    try:
        if is_new:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
            sync_directory(path.parent)
        engine = sqlalchemy.create_engine("sqlite://", creator=lambda: _connect(path), poolclass=StaticPool)
        with locked(path.parent):
            _check(engine, path)
    except (OSError, sqlite3.Error, SQLAlchemyError) as error:
        cause = getattr(error, "orig", None) or error
        raise StoreError(f"{path}: cannot be used ({cause}); restore it from a backup") from None
    return engine


def empty_log(engine: Engine) -> bool:
    """Move the write-ahead log into the database and cut it: until then one or both hold what was overwritten.

    Returns False, at once, where another process is reading or writing: then nothing has changed.
    """
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        try:
            is_busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
    return not is_busy


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _check(engine: Engine, path: Path) -> None:
    """Create the tables if there are none; else refuse a damaged database, or one of another version."""
    with engine.begin() as connection:
        state = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if state != "ok":
            raise StoreError(f"{path}: is damaged ({state}); restore it from a backup")
        tables.metadata.create_all(connection)
        version = connection.scalar(select(tables.meta.c.value).where(tables.meta.c.key == "schema"))
        if version is None:
            connection.execute(tables.meta.insert().values(key="schema", value=str(tables.SCHEMA_VERSION)))
        elif version != str(tables.SCHEMA_VERSION):
            problem = f"schema {version}, this software has {tables.SCHEMA_VERSION}"
            raise StoreError(f"{path}: {problem}; run the version that wrote it")
