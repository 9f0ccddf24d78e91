"""What is left of a disk whose power fails."""

import os
from contextlib import contextmanager

import pytest
from sim.dice import Dice
from sim.disk import Disk


@pytest.fixture
def disk(tmp_path):
    disk = Disk(Dice(1))
    (tmp_path / "old").write_bytes(b"old")
    disk.adopt(tmp_path)
    yield disk
    disk.close()


@contextmanager
def opened(path):
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_what_was_synced_stays(disk, tmp_path):
    path = tmp_path / "new"
    path.write_bytes(b"new")
    for each in (path, tmp_path):
        with opened(each) as descriptor:
            disk.fsynced(descriptor)
    assert disk.is_durable(path)
    assert disk.power_cut(tmp_path) == []
    assert path.read_bytes() == b"new"


def test_a_name_that_was_not_synced_may_go(disk, tmp_path):
    path = tmp_path / "new"
    path.write_bytes(b"new")
    with opened(path) as descriptor:
        disk.fsynced(descriptor)
    assert not disk.is_durable(path)
    lost = set()
    for _ in range(20):
        path.write_bytes(b"new") if not path.exists() else None
        disk._names[str(tmp_path)].pop("new", None)
        disk.power_cut(tmp_path)
        lost.add(path.exists())
    assert lost == {True, False}


def test_content_that_was_not_synced_may_be_torn(disk, tmp_path):
    path = tmp_path / "old"
    with path.open("ab") as file:
        file.write(b" and more")
    assert not disk.is_durable(path)
    assert disk.is_durable(path, 0, 3)
    seen = {bytes(disk._torn(b"old", b"old and more")) for _ in range(200)}
    assert {b"old", b"old and more", b"old an"} <= seen
    assert all(each.startswith(b"old") for each in seen)


def test_a_failed_fsync_is_never_made_good(disk, tmp_path):
    path = tmp_path / "old"
    with path.open("ab") as file:
        file.write(b"lost")
    with opened(path) as descriptor:
        disk.failed(descriptor)
        with path.open("ab") as file:
            file.write(b"kept")
        disk.fsynced(descriptor)
    assert not disk.is_durable(path, 3, 7)
    assert disk.is_durable(path, 7, 11)


def test_a_file_that_was_removed_may_come_back(disk, tmp_path):
    (tmp_path / "old").unlink()
    seen = set()
    for _ in range(20):
        disk._cut(tmp_path, [])
        seen.add((tmp_path / "old").exists())
        (tmp_path / "old").unlink(missing_ok=True)
    assert seen == {True, False}
