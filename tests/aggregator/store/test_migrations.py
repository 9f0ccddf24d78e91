"""A database of an older version is brought forward, all or nothing, and the job goes on in it."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from aggregator import row_checks, tables
from aggregator.database import faults, open_database
from aggregator.notices import RoundClosed
from aggregator.row_checks import COLUMN
from aggregator.schema_check import schema_faults
from aggregator.store import open_store
from fedloom.errors import StoreError

BRING_FORWARD = """
import sys
from pathlib import Path
from aggregator import migrations
from aggregator.database import open_database

point, path = sys.argv[1], Path(sys.argv[2])
import os, signal

def die(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)

if point == "before":
    migrations.migrate = die
elif point == "within":
    step = migrations._STEPS[2]
    migrations._STEPS[2] = lambda op: (step(op), die())
elif point == "copying":
    import aggregator.copying as copying
    copying.sync_directory = die
    os.replace = die
open_database(path, leads=True)
die()
"""


LATER = {"rounds": ["build"], "updates": ["counted_in"], "devices": ["labels"]}
"""Columns that schema 2 does not have."""


def rows(path):
    """All that schema 2 has, by table."""
    with closing(sqlite3.connect(path)) as connection:
        found = {}
        for table in tables.metadata.sorted_tables:
            if table is tables.standings:
                continue
            names = [row[1] for row in connection.execute(f"PRAGMA table_xinfo({table.name})")]
            names = [name for name in names if name not in (COLUMN, *LATER.get(table.name, ()))]
            found[table.name] = connection.execute(f"SELECT {', '.join(names)} FROM {table.name}").fetchall()
        del found["meta"]
        return found


def test_a_round_that_version_2_has_opened_is_finished(rig, as_schema_2):
    rig.send(rig.devices[0], rig.devices[0].update())
    rig.work()
    path = rig.parts.archive.store.path
    rig.crash()
    before = rows(path)
    as_schema_2(path)
    assert rows(path) == before
    rig.boot()
    assert rows(path) == before
    rig.ready()
    rig.finish_job()
    assert rig.told(RoundClosed)[0].accepted == 3
    assert rig.told(RoundClosed)[0].attempt == 1


@pytest.mark.parametrize("schema", [2, 3])
def test_what_was_brought_forward_is_what_a_new_database_has(rig, as_schema, tmp_path, schema):
    rig.answer_all()
    path = rig.parts.archive.store.path
    rig.crash()
    as_schema(path, schema)
    rig.boot()
    with rig.parts.archive.store.engine.connect() as connection:
        assert list(faults(connection)) == []
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
        assert connection.exec_driver_sql("PRAGMA auto_vacuum").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        counted = connection.exec_driver_sql("SELECT count(*) FROM updates WHERE counted_in = manifest_version")
        assert counted.scalar_one() == 3
    engine = open_database(tmp_path / "new.db")
    with engine.connect() as connection:
        assert list(schema_faults(connection)) == []
        assert connection.exec_driver_sql("PRAGMA auto_vacuum").scalar_one() == 2
    engine.dispose()


def test_what_was_there_is_kept_beside(rig, as_schema_2, caplog):
    path = rig.parts.archive.store.path
    rig.crash()
    as_schema_2(path)
    before = rows(path)
    rig.boot()
    kept = path.with_name("aggregator.db.schema-2")
    assert rows(kept) == before
    assert kept.stat().st_mode & 0o777 == 0o600
    assert str(kept) in caplog.text


def test_a_command_beside_the_aggregator_brings_nothing_forward(rig, as_schema_2):
    path = rig.parts.archive.store.path
    rig.crash()
    as_schema_2(path)
    before = path.read_bytes()
    with pytest.raises(
        StoreError, match=r"schema 2, this software has 4; start the aggregator.*fedloom aggregator run"
    ):
        open_store(rig.state)
    assert path.read_bytes() == before


@pytest.mark.parametrize("point", ["copying", "before", "within", "after"])
def test_a_process_that_is_killed_meanwhile_leaves_one_schema_or_the_other(rig, as_schema_2, point):
    path = rig.parts.archive.store.path
    rig.crash()
    as_schema_2(path)
    before = rows(path)
    ended = subprocess.run([sys.executable, "-c", BRING_FORWARD, point, str(path)], timeout=60, env=os.environ)
    assert ended.returncode == -signal.SIGKILL
    assert rows(path) == before
    rig.boot()
    assert rows(path) == before
    with rig.parts.archive.store.engine.connect() as connection:
        assert list(faults(connection)) == []
    rig.ready()
    rig.finish_job()


def test_a_row_that_refers_to_nothing_is_not_carried_over(rig, as_schema_2):
    path = rig.parts.archive.store.path
    rig.crash()
    as_schema_2(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE invitations SET manifest_version = 77")
    before = rows(path)
    with pytest.raises(StoreError, match="refers to one that is missing, so nothing was changed"):
        rig.boot()
    assert rows(path) == before


def test_a_device_keeps_the_labels_of_the_token_that_it_joined_with_last(rig, as_schema):
    path = rig.parts.archive.store.path
    joined, other = rig.devices[0], rig.devices[1]
    rig.crash()
    as_schema(path, 3)
    with closing(sqlite3.connect(path)) as connection, connection:
        row_checks.register(connection)
        for number, site in ((1, "south"), (2, "north"), (0, "east")):
            values = (bytes([number]) * 16, bytes(32), f'{{"site": "{site}"}}', number, joined.id)
            connection.execute(
                "INSERT INTO tokens (id, secret_hash, name, labels, needs_approval, state, created_at, expires_at,"
                " signing, device) VALUES (?, ?, '', ?, 0, 'joined', ?, 0, x'00', ?)",
                values,
            )
    rig.boot()
    labels = {each.id: each.labels for each in rig.parts.archive.store.devices()}
    assert labels[joined.id] == '{"site": "north"}'
    assert labels[other.id] == "{}"
