"""States that are old, damaged, or taken over."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from aggregator import row_checks
from aggregator.row_checks import COLUMN


@pytest.fixture
def as_schema():
    """Turns a database into what an older version would have: its tables, the same rows."""

    def turn(path, schema):
        before = path.with_name("before.db")
        path.rename(before)
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        path.touch(0o600)
        with closing(sqlite3.connect(path)) as old, old:
            row_checks.register(old)
            tables = Path(__file__).with_name(f"schema_{schema}.sql").read_text()
            old.executescript("PRAGMA journal_mode = WAL;" + tables)
            old.execute("ATTACH ? AS newer", (str(before),))
            names = [row[0] for row in old.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")]
            for name in names:
                found = [row[1] for row in old.execute(f"PRAGMA main.table_xinfo({name})")]
                assert (COLUMN in found) is (schema > 2)
                columns = ", ".join(each for each in found if each != COLUMN)
                old.execute(f"INSERT INTO main.{name} ({columns}) SELECT {columns} FROM newer.{name}")
            old.execute("DELETE FROM meta WHERE \"key\" != 'schema'")
            old.execute("UPDATE meta SET value = ?", (str(schema),))
        before.unlink()

    return turn


@pytest.fixture
def as_schema_2(as_schema):
    return lambda path: as_schema(path, 2)
