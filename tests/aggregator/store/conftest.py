"""States that are old, damaged, or taken over."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from aggregator.row_checks import COLUMN

SCHEMA_2 = Path(__file__).with_name("schema_2.sql").read_text()


@pytest.fixture
def as_schema_2():
    """Turns a database into what version 2 would have: its tables, the same rows."""

    def turn(path):
        before = path.with_name("before.db")
        path.rename(before)
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        path.touch(0o600)
        with closing(sqlite3.connect(path)) as old, old:
            old.executescript("PRAGMA journal_mode = WAL;" + SCHEMA_2)
            old.execute("ATTACH ? AS newer", (str(before),))
            names = [row[0] for row in old.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
            for name in names:
                columns = ", ".join(row[1] for row in old.execute(f"PRAGMA main.table_xinfo({name})"))
                assert COLUMN not in columns
                old.execute(f"INSERT INTO main.{name} ({columns}) SELECT {columns} FROM newer.{name}")
            old.execute("DELETE FROM meta WHERE \"key\" != 'schema'")
            old.execute("UPDATE meta SET value = '2'")
        before.unlink()

    return turn
