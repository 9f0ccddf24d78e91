"""Durable state: what is written comes back, and what is damaged is never taken for nothing."""

from hashlib import sha256
from pathlib import Path

import pytest

from edge_client.outbox import StateDirectory
from edge_client.state import DeviceState, OutboxEntry
from fedloom.errors import StoreError, TrustError

STATE = DeviceState(b"D" * 16, 3, 2000, 7, b"h" * 32)


def entry(blob: bytes) -> OutboxEntry:
    return OutboxEntry(sha256(blob).digest(), b"h" * 32, b"J" * 16, True, blob)


@pytest.fixture
def directory(tmp_path: Path) -> StateDirectory:
    directory = StateDirectory(tmp_path / "state")
    directory.hold()
    return directory


def test_an_empty_directory_has_neither_state_nor_updates(directory: StateDirectory) -> None:
    assert directory.read() == (None, ())


def test_what_is_written_comes_back(directory: StateDirectory) -> None:
    directory.write_state(STATE)
    directory.store(entry(b"update"), b"residual")
    assert StateDirectory(directory.path).read() == (STATE, (entry(b"update"),))
    assert directory.read_residual(entry(b"update").digest) == b"residual"


def test_a_dropped_update_leaves_only_the_current_residual(directory: StateDirectory) -> None:
    first, second = entry(b"first"), entry(b"second")
    directory.store(first, b"residual of the first")
    directory.write_state(DeviceState(b"D" * 16, 1, residual=first.digest, residual_job=b"J" * 16))
    directory.drop(first.digest)
    assert directory.read_residual(first.digest) == b"residual of the first"
    directory.store(second, b"residual of the second")
    directory.drop(second.digest)
    assert directory.read_residual(first.digest) == b"residual of the first"
    with pytest.raises(FileNotFoundError):
        directory.read_residual(second.digest)


def test_tidying_removes_what_nothing_names(directory: StateDirectory) -> None:
    directory.store(entry(b"update"), b"residual")
    (directory.path / "residuals" / "00").write_bytes(b"left by a crash")
    (directory.path / "outbox" / ".00.new").write_bytes(b"half")
    directory.tidy(directory.read())
    assert [path.name for path in (directory.path / "outbox").iterdir()] == [entry(b"update").digest.hex()]
    assert [path.name for path in (directory.path / "residuals").iterdir()] == [entry(b"update").digest.hex()]


@pytest.mark.parametrize("name", ["state", f"outbox/{entry(b'update').digest.hex()}"])
def test_every_damaged_byte_is_noticed(directory: StateDirectory, name: str) -> None:
    directory.write_state(STATE)
    directory.store(entry(b"update"), None)
    path = directory.path / name
    sound = path.read_bytes()
    for place in range(len(sound)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x40]) + sound[place + 1 :])
        with pytest.raises(StoreError, match=rf"{path}.*delete it"):
            directory.read()
    for length in range(len(sound)):
        path.write_bytes(sound[:length])
        with pytest.raises(StoreError, match="delete it"):
            directory.read()


def test_a_missing_residual_is_noticed(directory: StateDirectory) -> None:
    directory.write_state(DeviceState(b"D" * 16, 1, residual=b"r" * 32))
    with pytest.raises(StoreError, match="missing"):
        directory.tidy(directory.read())


def test_only_one_process_holds_it(directory: StateDirectory) -> None:
    second = StateDirectory(directory.path)
    assert second.is_held()
    with pytest.raises(StoreError, match="another fedloom-edge"):
        second.hold()
    directory.release()
    assert not second.is_held()
    second.hold()
    second.release()


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir()
    path.chmod(0o755)
    with pytest.raises(TrustError, match="chmod 700"):
        StateDirectory(path).hold()


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used"):
        StateDirectory(tmp_path / "file" / "state").hold()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
