"""What happens when the disk or the link does not do what it is asked."""

import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from edge_client.effects import Effects
from edge_client.events import PersistState, Publish, StoreOutbox
from edge_client.outbox import StateDirectory
from edge_client.state import DeviceState, OutboxEntry
from fedloom.errors import StoreError
from fedloom.link.memory import MemoryBroker, MemoryLink

ENTRY = OutboxEntry(sha256(b"update").digest(), b"h" * 32, b"J" * 16, False, b"update")


@pytest.fixture
def directory(tmp_path: Path) -> StateDirectory:
    directory = StateDirectory(tmp_path / "state")
    directory.hold()
    return directory


@pytest.fixture
def effects(directory: StateDirectory) -> Effects:
    link = MemoryLink(MemoryBroker(), "device", lambda event: None, max_queued_bytes=400)
    return Effects(link, directory)


@pytest.mark.parametrize("action", [PersistState(DeviceState(b"D" * 16, 1)), StoreOutbox(ENTRY, b"residual")])
def test_a_disk_that_does_not_take_it_ends_the_daemon(
    effects: Effects, directory: StateDirectory, action: PersistState | StoreOutbox
) -> None:
    effects.carry_out(action)
    shutil.rmtree(directory.path)
    with pytest.raises(StoreError, match="cannot be written"):
        effects.carry_out(action)


def test_a_full_link_is_logged_and_survived(effects: Effects, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        effects.carry_out(Publish("a/topic", bytes(100)))
    assert "link.full topic=a/topic bytes=100" in caplog.text
