"""What happens when the disk or the link does not do what it is asked."""

import errno
import os
import shutil
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from edge_client.effects import Effects
from edge_client.events import Heard, PersistState, Publish, Silent, StoreOutbox, WriteDocument
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
    return Effects(link, directory, directory.path.parent / "keys")


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


def test_a_document_replaces_its_file_for_its_owner_alone(effects: Effects, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    for data in (b"first", b"second"):
        effects.carry_out(WriteDocument("root", data))
        assert (tmp_path / "keys" / "root").read_bytes() == data
    assert (tmp_path / "keys" / "root").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_keys_that_cannot_be_written_are_told_and_survived(
    effects: Effects, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    monkeypatch.setattr("edge_client.effects.write_durably", _failing(number))
    effects.carry_out(WriteDocument("credential", b"secret document"))
    assert "document.unkept" in caplog.text
    assert "secret" not in caplog.text


def test_a_full_disk_under_the_keys_ends_the_daemon(effects: Effects, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_client.effects.write_durably", _failing(errno.ENOSPC))
    with pytest.raises(StoreError, match="cannot be written"):
        effects.carry_out(WriteDocument("credential", b""))


def test_the_note_of_silence_comes_and_goes(effects: Effects, directory: StateDirectory) -> None:
    effects.carry_out(Silent(100.0))
    since = directory.silent.read()
    assert since is not None
    assert 90 <= time.time() - since <= 110
    effects.carry_out(Heard())
    assert directory.silent.read() is None


def _failing(number: int) -> Callable[..., None]:
    def write(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return write
