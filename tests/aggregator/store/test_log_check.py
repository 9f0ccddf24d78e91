"""A bit that was flipped in the write-ahead log of a killed aggregator: nothing is forgotten in silence."""

import shutil

import pytest

from aggregator.log_check import log_fault
from aggregator.store import open_store
from fedloom.errors import StoreError


@pytest.fixture
def killed(rig, tmp_path):
    """A state whose log has three commits that a killed process has left: an answer each."""
    sizes = []
    for device in rig.devices:
        if device is rig.devices[-1]:
            break
        rig.send(device, device.update())
        rig.work()
        sizes.append((rig.state / "aggregator.db-wal").stat().st_size)
    with open_store(rig.state) as store:
        store.revoke_device(rig.devices[-1].name)
    copy = tmp_path / "killed"
    shutil.copytree(rig.state, copy)
    rig.crash()
    shutil.rmtree(rig.state)
    copy.rename(rig.state)
    return rig.state / "aggregator.db"


def flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


def log_of(path):
    return path.with_name("aggregator.db-wal")


def test_a_sound_log_loses_nothing_and_is_not_changed_by_looking(killed, rig):
    before = killed.read_bytes(), log_of(killed).read_bytes()
    assert before[1]
    assert log_fault(killed) == ""
    assert (killed.read_bytes(), log_of(killed).read_bytes()) == before
    rig.boot()
    assert len(rig.parts.core.coordinator._intake.state.answers) == 2


@pytest.mark.parametrize("place", [*range(0, 32, 5), 40, 56 + 100])
def test_a_flipped_bit_in_the_middle_is_refused_as_often_as_it_is_looked_at(killed, rig, place):
    flip(log_of(killed), place)
    before = log_of(killed).read_bytes()
    for _ in range(2):
        with pytest.raises(StoreError, match=r"aggregator\.db-wal: is damaged .* fedloom aggregator restore"):
            rig.boot()
        with pytest.raises(StoreError, match="is damaged"):
            open_store(rig.state)
    assert log_of(killed).read_bytes() == before


def test_a_write_that_was_interrupted_is_no_damage(killed, rig):
    data = log_of(killed).read_bytes()
    log_of(killed).write_bytes(data[:-100])
    assert log_fault(killed) == ""
    flip(log_of(killed), len(data) - 200)
    assert log_fault(killed) == ""
    rig.boot()


def test_a_log_in_use_is_looked_at_without_harm(rig):
    rig.send(rig.devices[0], rig.devices[0].update())
    rig.work()
    for _ in range(3):
        assert log_fault(rig.parts.archive.store.path) == ""
        rig.answer_all()
    rig.finish_job()
