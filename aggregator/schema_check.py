"""Compares the tables that a database has with those that it should have: a flipped bit may be in their definition."""

import re
from collections.abc import Iterator
from functools import cache

from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from aggregator import tables


def schema_faults(connection: Connection) -> Iterator[str]:
    """Each table and index that is not defined as `aggregator.tables` says."""
    rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    found = {row.name: _plain(row.sql) for row in rows}
    expected = _expected()
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            yield f"the definition of {name} is not that of schema {tables.SCHEMA_VERSION}"


@cache
def _expected() -> dict[str, str]:
    dialect = sqlite.dialect()
    parts = {
        table.name: _plain(str(CreateTable(table).compile(dialect=dialect))) for table in tables.metadata.sorted_tables
    }
    indexes = [index for table in tables.metadata.sorted_tables for index in table.indexes]
    return parts | {str(index.name): _plain(str(CreateIndex(index).compile(dialect=dialect))) for index in indexes}


def _plain(sql: str) -> str:
    """Without spaces, and without quotes around names: ALTER TABLE adds some."""
    return re.sub(r'[\s"]', "", sql)
