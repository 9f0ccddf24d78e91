"""What a receipt or a revocation promises holds on disk and from the next message on."""

import errno
import os

import msgspec
import pytest

from aggregator import events as ev
from aggregator.config import Retention
from aggregator.records import Answer
from aggregator.spool import Spool
from fedloom.errors import StoreError
from fedloom.wire.messages import Phase, Verdict


@pytest.fixture
def synced(monkeypatch):
    """The (inode, size) of each file at its fsync."""
    seen = []
    fsync = os.fsync

    def record(descriptor):
        fsync(descriptor)
        stat = os.fstat(descriptor)
        seen.append((stat.st_ino, stat.st_size))

    monkeypatch.setattr(os, "fsync", record)
    return seen


def test_the_database_commits_to_the_disk_and_overwrites_what_it_deletes(rig):
    with rig.parts.archive.store.engine.connect() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "secure_delete")
        ]
    assert pragmas == ["wal", 2, 1]  # 2 is FULL


def test_what_the_spool_has_taken_is_fsynced_whole(tmp_path, synced):
    spool = Spool(tmp_path / "spool")
    segment = spool.segment(b"j" * 16, 1, 1)
    for number in (1, 2):
        spool.append(segment, [Answer(bytes([number]) * 16, bytes(32), Verdict.ACCEPTED, "", encoding=1, body=b"body")])
        assert (segment.stat().st_ino, segment.stat().st_size) in synced
    assert segment.parent.stat().st_ino in [inode for inode, _ in synced]  # the name, too


def test_a_name_that_a_crash_left_unsynced_is_synced_with_the_first_append_of_the_next_process(tmp_path, synced):
    segment = Spool(tmp_path / "spool").segment(b"j" * 16, 1, 1)
    answer = Answer(bytes(16), bytes(32), Verdict.ACCEPTED, "", encoding=1, body=b"body")
    Spool(tmp_path / "spool").append(segment, [answer])
    after = Spool(tmp_path / "spool")
    for expected in (1, 0):
        synced.clear()
        after.append(segment, [answer])
        for directory in (segment.parent, segment.parent.parent):
            assert [inode for inode, _ in synced].count(directory.stat().st_ino) == expected


def test_old_rounds_and_models_leave_the_disk(make_rig):
    rig = make_rig(count=5)
    changed = msgspec.structs.replace(rig.config.config, retention=Retention(models=1, rounds=1))
    rig.config = msgspec.structs.replace(rig.config, config=changed)
    rig.boot()
    rig.ready()
    rig.work()
    rig.finish_job()
    rounds = {int(path.name[1:8]) for path in (rig.state / "spool").rglob("*.spool")}
    assert rounds <= {5, 6}
    assert len(list((rig.state / "models").rglob("*.fedloom"))) <= 2  # the newest and the best


def test_a_device_that_is_revoked_gets_no_task_and_no_model_key_any_more(rig):
    gone, *others = rig.devices
    rig.parts.archive.store.revoke_device(gone.name)
    rig.handle(ev.FleetChanged(tuple(rig.parts.archive.store.devices()), frozenset()))
    tasks = len(gone.tasks)
    assert gone.id not in rig.parts.fleet.ready
    rig.receive(gone.topics.state(gone.id), gone.presence())
    rig.handle(ev.LinkUp())  # everything is said again
    for device in others:
        rig.send(device, device.update())
    rig.now_s += 60.0
    rig.handle(ev.Tick())
    rig.work()
    while others[0].manifest.phase is not Phase.DONE:
        for device in others:
            rig.send(device, device.update())
        rig.work()
    assert len(gone.tasks) == tasks
    assert all(device.task() is not None for device in others)


def test_the_names_of_spool_and_models_are_made_durable_at_each_start(stopped, synced):
    """The process before may have made them, and died before their names were on the disk."""
    stopped.rig.boot()
    assert stopped.rig.state.stat().st_ino in [inode for inode, _ in synced]


def test_a_disk_that_fails_at_the_start_is_named(stopped, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match="state: cannot be used"):
        stopped.rig.boot()
