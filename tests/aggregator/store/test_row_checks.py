"""A byte that was flipped in the database is noticed, or changes nothing."""

import shutil
import sqlite3
from contextlib import closing
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator import tables
from aggregator.database import empty_log, faults, open_database
from aggregator.row_checks import checksum, damaged_rows, register
from aggregator.store import open_store
from fedloom.errors import StoreError

VALUES = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()


@pytest.fixture
def resting(rig):
    """A database with something in each table of a run, its log emptied."""
    rig.answer_all()
    rig.send(rig.devices[0], rig.devices[0].update())
    rig.work()
    assert empty_log(rig.parts.archive.store.engine)
    rig.crash()
    return rig.state / "aggregator.db"


def contents(path):
    """All rows of all tables, as the aggregator reads them."""
    engine = open_database(path, leads=True)
    try:
        with engine.connect() as connection:
            return {table.name: connection.execute(table.select()).all() for table in tables.metadata.sorted_tables}
    finally:
        engine.dispose()


sound = cache(contents)


@given(st.lists(VALUES, min_size=1, max_size=5), st.data())
def test_a_row_that_differs_in_any_column_has_another_checksum(row, data):
    place = data.draw(st.integers(0, len(row) - 1))
    other = data.draw(VALUES.filter(lambda value: value != row[place] or type(value) is not type(row[place])))
    assert checksum(*row) != checksum(*row[:place], other, *row[place + 1 :])


def test_every_table_has_checksums_and_every_statement_keeps_them_right(resting):
    with closing(sqlite3.connect(resting)) as connection, connection:
        register(connection)
        connection.execute("UPDATE devices SET revoked = 1")
        connection.execute("UPDATE rounds SET reason = 'changed' WHERE round = 1")
    engine = open_database(resting)
    with engine.connect() as connection:
        assert list(damaged_rows(connection, tables.metadata)) == []
        assert list(faults(connection)) == []
    engine.dispose()


def test_a_flipped_bit_in_a_value_names_the_table_the_row_and_the_remedy(resting, rig):
    data = bytearray(resting.read_bytes())
    place = data.index(b"device-1")
    data[place + 7] ^= 1  # device-0: a name that is taken
    resting.write_bytes(bytes(data))
    with pytest.raises(StoreError, match=r"is damaged \(.*devices.*fedloom aggregator restore"):
        rig.boot()


def test_a_wrong_value_in_sound_pages_is_found_by_its_checksum(resting, rig):
    with closing(sqlite3.connect(resting)) as connection, connection:
        connection.create_function("fedloom_row", -1, lambda *values: 7, deterministic=True)
        connection.execute("UPDATE updates SET samples = 9 WHERE manifest_version = 1")
    with pytest.raises(StoreError, match=r"table updates, row manifest_version 1, device [0-9a-f]{32}: its checksum"):
        rig.boot()


def test_a_changed_definition_is_found(resting, rig):
    data = resting.read_bytes()
    assert data.count(b"'aborted')") == 1
    resting.write_bytes(data.replace(b"'aborted')", b"'aborzed')"))
    with pytest.raises(StoreError, match="the definition of rounds is not that of schema 4"):
        rig.boot()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_byte_anywhere_is_noticed_or_harmless(resting, tmp_path, data):
    clean = tmp_path / "clean.db"
    if not clean.exists():
        shutil.copy(resting, clean)
    good, expected = clean.read_bytes(), sound(clean)
    place = data.draw(st.integers(0, len(good) - 1), label="place")
    bits = data.draw(st.integers(1, 255), label="bits")
    flipped = bytearray(good)
    flipped[place] ^= bits
    path = tmp_path / "flipped.db"
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    path.write_bytes(bytes(flipped))
    try:
        found = contents(path)
    except StoreError:
        return
    assert found == expected


def test_a_damaged_definition_that_is_no_text_is_found(resting, rig):
    data = resting.read_bytes()
    for name in (b"ix_rounds_job", b"manifest_version", b"CREATE TABLE rounds"):
        resting.write_bytes(data.replace(name, bytes([name[0] | 0x80]) + name[1:]))
        with pytest.raises(StoreError, match=r"aggregator\.db: "):
            rig.boot()
    resting.write_bytes(data)


def test_commands_beside_the_aggregator_do_not_examine_every_row(resting, rig):
    with closing(sqlite3.connect(resting)) as connection, connection:
        connection.create_function("fedloom_row", -1, lambda *values: 7, deterministic=True)
        connection.execute("UPDATE updates SET samples = 9 WHERE manifest_version = 1")
    with open_store(rig.state) as store:
        assert len(store.devices()) == 3
