"""A backup is whole or is none; a restore makes the same state, all or nothing, and refuses anything else."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import msgspec
import pytest

from aggregator.backup import take as taking
from aggregator.backup.inventory import FILE, read_inventory
from aggregator.backup.leap import LEAST, RESTORED
from aggregator.backup.restore import restore
from aggregator.backup.take import take
from aggregator.config import Retention
from aggregator.notices import RoundClosed
from aggregator.spool import segment_name
from fedloom.errors import StoreError, TrustError
from fedloom.wire.messages import Phase, Verdict


def quiet(*progress):
    """Nobody watches."""


@pytest.fixture
def backup(rig, tmp_path):
    """Of a run that is in its second round, one of whose devices has answered."""
    rig.answer_all()
    rig.send(rig.devices[0], rig.devices[0].update())
    rig.work()
    take(rig.state, tmp_path / "backup", quiet)
    return tmp_path / "backup"


def lose(rig):
    rig.crash()
    shutil.rmtree(rig.state)


def tree(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_it_holds_all_for_its_owner_alone(backup, rig):
    inventory = read_inventory(backup)
    assert inventory.manifest_version == 2
    assert {*inventory.files, FILE} == set(tree(backup))
    for folder in ("keys", "models", "spool"):
        assert {name for name in inventory.files if name.startswith(folder)} == {
            f"{folder}/{name}" for name in tree(rig.state / folder)
        }
    modes = {path.stat().st_mode & 0o777 for path in backup.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (backup, *backup.rglob("*")) if path.is_dir()} == {0o700}


def test_a_restored_run_does_the_lost_rounds_again_above_all_versions(backup, rig):
    rig.finish_job()
    seen = rig.devices[0].manifest.version
    done = [notice.round for notice in rig.told(RoundClosed)]
    lose(rig)
    restore(backup, rig.state, quiet)
    rig.notices.clear()
    rig.finished = False
    rig.boot()
    rig.ready()
    rig.work()
    manifest = rig.devices[0].manifest
    assert manifest.version > seen + LEAST / 2
    assert (manifest.round, manifest.attempt) == (2, 2)
    assert manifest.closes.outcome == "aborted"
    rig.finish_job()
    assert [notice.round for notice in rig.told(RoundClosed)] == done[1:]
    with rig.parts.archive.store.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT round, reason FROM rounds WHERE status = 'aborted'").all()
    assert rows == [(2, RESTORED)]


def test_an_answer_to_a_lost_round_is_late_and_counts_nowhere(backup, rig):
    rig.answer_all()
    device = rig.devices[0]
    lost = device.update()
    assert device.manifest.round > 2
    lose(rig)
    restore(backup, rig.state, quiet)
    rig.boot()
    rig.ready()
    rig.work()
    rig.send(device, lost)
    assert rig.verdicts(device)[-1] is Verdict.LATE
    rig.answer_all()
    closed = rig.told(RoundClosed)[-1]
    assert (closed.round, closed.attempt, closed.accepted) == (2, 2, 3)


def test_a_job_that_was_done_is_said_anew(rig, tmp_path):
    rig.finish_job()
    seen = rig.devices[0].manifest.version
    take(rig.state, tmp_path / "backup", quiet)
    lose(rig)
    restore(tmp_path / "backup", rig.state, quiet)
    rig.boot()
    rig.work()
    manifest = rig.devices[0].manifest
    assert manifest.phase is Phase.DONE
    assert manifest.version > seen
    rig.crash()
    rig.boot()  # and only once
    rig.work()
    assert rig.devices[0].manifest.version == manifest.version


def test_restoring_the_same_backup_again_leaps_above_the_first_time(backup, rig):
    versions = []
    for _ in range(2):
        lose(rig)
        restore(backup, rig.state, quiet)
        rig.boot()
        rig.ready()
        rig.work()
        versions.append(rig.devices[0].manifest.version)
    assert versions[0] < versions[1]


def test_a_restored_round_has_no_key_any_more(backup, rig):
    lose(rig)
    restore(backup, rig.state, quiet)
    with closing(sqlite3.connect(rig.state / "aggregator.db")) as connection:
        assert connection.execute("SELECT count(*) FROM rounds WHERE round_key IS NOT NULL").fetchone() == (0,)
    rig.boot()


def test_retention_that_removes_a_file_in_between_has_it_begin_again(rig, tmp_path, monkeypatch):
    rig.answer_all()
    copied = taking.copy_database
    turns = []

    def copy(source, target):
        copied(source, target)
        if not turns:  # the round is turned, and what the copy names is gone
            turns.append(True)
            rig.parts.archive._retention = Retention(models=1, rounds=1)
            for _ in range(2):
                rig.answer_all()
                rig.parts.archive._spool.prune(rig.parts.archive._opened.job, 99)

    monkeypatch.setattr(taking, "copy_database", copy)
    inventory = take(rig.state, tmp_path / "backup", quiet)
    assert inventory.manifest_version > 2
    assert {*inventory.files, FILE} == set(tree(tmp_path / "backup"))


def test_what_was_pruned_long_ago_is_not_missed(rig, tmp_path):
    rig.answer_all()
    opened = rig.parts.archive._opened
    rig.parts.archive._spool.prune(opened.job, 99)
    inventory = take(rig.state, tmp_path / "backup", quiet)
    assert f"spool/{segment_name(opened.job, 1, 1)}" not in inventory.files


def test_a_directory_with_something_in_it_is_not_used(backup, rig):
    before = tree(backup)
    with pytest.raises(StoreError, match="is not empty; name a directory that is not there yet"):
        take(rig.state, backup, quiet)
    assert tree(backup) == before


def test_a_directory_that_others_can_enter_is_not_used(rig, tmp_path):
    (tmp_path / "shared").mkdir(mode=0o755)
    with pytest.raises(TrustError, match="chmod 700"):
        take(rig.state, tmp_path / "shared", quiet)


def test_a_damaged_state_is_not_backed_up(rig, tmp_path):
    with closing(sqlite3.connect(rig.state / "aggregator.db")) as connection, connection:
        connection.create_function("fedloom_row", -1, lambda *values: 7, deterministic=True)
        connection.execute("UPDATE jobs SET started_at = 0")
    with pytest.raises(StoreError, match=r"is damaged \(table jobs, row number 1.*fedloom aggregator check"):
        take(rig.state, tmp_path / "backup", quiet)
    assert not (tmp_path / "backup" / FILE).exists()


# Restoring


def test_a_backup_without_its_last_file_is_none(backup, rig):
    lose(rig)
    (backup / FILE).unlink()
    with pytest.raises(StoreError, match="is missing, so this is no complete backup"):
        restore(backup, rig.state, quiet)
    assert not rig.state.exists()


def test_every_altered_or_missing_file_is_found_before_anything_is_done(backup, rig):
    lose(rig)
    for name in read_inventory(backup).files:
        path = backup / name
        whole = path.read_bytes()
        for part in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-1], None):
            path.unlink()
            if part is not None:
                path.write_bytes(part)
            with pytest.raises(StoreError, match="choose another backup"):
                restore(backup, rig.state, quiet)
            assert not rig.state.exists()
            path.write_bytes(whole)
    restore(backup, rig.state, quiet)


@pytest.mark.parametrize(
    "name", ["../outside", "keys/../../outside", "/etc/outside", "keys", "other/file", "keys//x", ""]
)
def test_a_backup_that_names_a_file_elsewhere_is_refused(backup, rig, name):
    lose(rig)
    said = json.loads((backup / FILE).read_bytes())
    said["files"][name] = next(iter(said["files"].values()))
    (backup / FILE).write_bytes(json.dumps(said).encode())
    with pytest.raises(StoreError, match="is damaged"):
        restore(backup, rig.state, quiet)


def test_another_format_is_refused(backup, rig):
    lose(rig)
    (backup / FILE).write_bytes(msgspec.json.encode(msgspec.structs.replace(read_inventory(backup), format=2)))
    with pytest.raises(StoreError, match="format 2, this software reads 1"):
        restore(backup, rig.state, quiet)


def test_a_state_that_is_there_is_not_overwritten(backup, rig):
    before = {name: blob for name, blob in tree(rig.state).items() if "aggregator.db" not in name}
    with pytest.raises(StoreError, match="is there already; move the state directory away"):
        restore(backup, rig.state, quiet)
    after = tree(rig.state)
    assert {name: after[name] for name in before} == before


RESTORE = """
import os, signal, sys
from pathlib import Path
from aggregator.backup.restore import restore
from aggregator.backup.take import take

what, source, target, last = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
calls = 0

def counted(function):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

for name in ("fsync", "rename", "replace"):
    setattr(os, name, counted(getattr(os, name)))
Path.rename = counted(Path.rename)
Path.replace = counted(Path.replace)
{"take": take, "restore": restore}[what](source, target, lambda *progress: None)
"""


def killed_at(what, source, target, last):
    """Whether the process died at its `last`-th call that writes; else it has done its work."""
    command = [sys.executable, "-c", RESTORE, what, str(source), str(target), str(last)]
    status = subprocess.run(command, timeout=60, env=os.environ).returncode
    assert status in (0, -signal.SIGKILL)
    return status != 0


@pytest.mark.slow
def test_a_restore_that_is_killed_anywhere_is_done_by_the_next_one(backup, rig):
    rig.crash()
    shutil.rmtree(rig.state)
    for last in (2, 9, 14, 18, 20, 22, 24, 26, 28):
        killed_at("restore", backup, rig.state, last)
        if (rig.state / "keys").exists():
            break  # it was complete by then
        restore(backup, rig.state, quiet)
        assert set(read_inventory(backup).files) <= set(tree(rig.state))
        assert not (rig.state / ".restore.new").exists()
        shutil.rmtree(rig.state)
    if not rig.state.exists():
        restore(backup, rig.state, quiet)
    rig.boot()
    rig.ready()
    rig.finish_job()


@pytest.mark.slow
def test_a_backup_that_is_killed_before_its_last_file_is_none(rig, tmp_path):
    rig.answer_all()
    for last in (1, 4, 9, 15, 21, 27):
        directory = tmp_path / f"backup-{last}"
        if not killed_at("take", rig.state, directory, last):
            break
        if (directory / FILE).exists():  # what came after was no part of it
            restore(directory, tmp_path / "elsewhere", quiet)
            break
        with pytest.raises(StoreError, match="no complete backup"):
            restore(directory, tmp_path / "elsewhere", quiet)
    rig.finish_job()


def test_a_database_that_is_damaged_names_the_newest_backup(backup, rig):
    path = rig.state / "aggregator.db"
    rig.crash()
    path.write_bytes(b"SQLite format 3\0" + bytes(200))
    with pytest.raises(
        StoreError, match=rf"move the state directory away, and run: fedloom aggregator restore {backup}"
    ):
        rig.boot()
