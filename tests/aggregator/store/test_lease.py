"""Two runs on one state whose file lock lies: the first one ends before it writes another word."""

import subprocess
import sys

import pytest

from aggregator.store import open_store
from fedloom.errors import StoreError

LEAD = """
import fcntl, sys
from pathlib import Path
from aggregator.store import open_store

fcntl.flock = lambda descriptor, how: None
store = open_store(Path(sys.argv[1]), leads=True)
print("leads", flush=True)
sys.stdin.readline()
try:
    with store.exclusively() as connection:
        connection.exec_driver_sql("DELETE FROM invitations")
    print("written", flush=True)
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""


def start(state):
    process = subprocess.Popen(
        [sys.executable, "-c", LEAD, str(state)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "leads\n"
    return process


def finish(process):
    said, _ = process.communicate("\n", timeout=60)
    return said


def test_the_run_that_began_first_writes_nothing_any_more(rig):
    rig.crash()
    first = start(rig.state)
    second = start(rig.state)
    assert finish(first).startswith("StoreError another aggregator has taken over this state")
    with open_store(rig.state) as store, store.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM invitations").scalar_one() == 3
    assert finish(second) == "written\n"


def test_every_write_of_a_run_ends_it_once_another_has_begun(rig):
    device = rig.devices[0]
    rig.send(device, device.update())
    open_store(rig.state, leads=True).close()
    with pytest.raises(StoreError, match="another aggregator has taken over this state"):
        rig.work()
    assert rig.verdicts(device) == []


def test_a_run_that_is_idle_sees_it_when_it_looks_for_changes(rig):
    archive = rig.parts.archive
    assert archive.changed_fleet() is None
    open_store(rig.state, leads=True).close()
    with pytest.raises(StoreError, match="another aggregator has taken over"):
        archive.changed_fleet()


def test_commands_take_nothing_over(rig):
    with open_store(rig.state) as store:
        store.revoke_device(rig.devices[2].name)
    assert rig.parts.archive.changed_fleet() is not None
    rig.send(rig.devices[0], rig.devices[0].update())
    rig.work()
    assert len(rig.verdicts(rig.devices[0])) == 1
