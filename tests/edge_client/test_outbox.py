"""Durable state: what is written comes back, and what is damaged is never taken for nothing."""

import os
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    assert directory.read() == (None, (), ())


def test_what_is_written_comes_back(directory: StateDirectory) -> None:
    directory.write_state(STATE)
    directory.store(entry(b"update"), b"residual")
    assert StateDirectory(directory.path).read() == (STATE, (entry(b"update"),), ())
    assert directory.residuals.read(entry(b"update").digest) == b"residual"


def test_a_dropped_update_leaves_only_the_current_residual(directory: StateDirectory) -> None:
    first, second = entry(b"first"), entry(b"second")
    directory.store(first, b"residual of the first")
    directory.write_state(DeviceState(b"D" * 16, 1, residual=first.digest, residual_job=b"J" * 16))
    directory.drop(first.digest)
    assert directory.residuals.read(first.digest) == b"residual of the first"
    directory.store(second, b"residual of the second")
    directory.drop(second.digest)
    assert directory.residuals.read(first.digest) == b"residual of the first"
    assert directory.residuals.read(second.digest) == b""


def test_tidying_removes_what_nothing_names(directory: StateDirectory) -> None:
    directory.store(entry(b"update"), b"residual")
    (directory.path / "residuals" / "00").write_bytes(b"left by a crash")
    (directory.path / "outbox" / ".00.new").write_bytes(b"half")
    directory.tidy(directory.read())
    assert [path.name for path in (directory.path / "outbox").iterdir()] == [entry(b"update").digest.hex()]
    assert [path.name for path in (directory.path / "residuals").iterdir()] == [entry(b"update").digest.hex()]


RESIDUAL = f"residuals/{entry(b'update').digest.hex()}"
OUTBOX = f"outbox/{entry(b'update').digest.hex()}"


def spoil(sound: bytes, place: int, mask: int, is_cut: bool) -> bytes:
    """One byte changed, or the rest of the file gone."""
    place %= len(sound)
    return sound[:place] if is_cut else sound[:place] + bytes([sound[place] ^ mask]) + sound[place + 1 :]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["state", OUTBOX, RESIDUAL]), st.integers(0, 10**6), st.integers(1, 255), st.booleans())
def test_whatever_is_damaged_is_noticed_named_and_survived_as_stated(
    tmp_path_factory: pytest.TempPathFactory, name: str, place: int, mask: int, is_cut: bool
) -> None:
    directory = StateDirectory(tmp_path_factory.mktemp("spoilt") / "state")
    directory.hold()
    update = entry(b"update")
    directory.store(update, b"residual")
    directory.write_state(msgspec.structs.replace(STATE, residual=update.digest, residual_job=b"J" * 16))
    path = directory.path / name
    path.write_bytes(spoil(path.read_bytes(), place, mask, is_cut))
    if name == "state":
        with pytest.raises(StoreError, match=rf"{path}.*damaged.*fedloom-edge repair"):
            directory.read()
        assert path.exists()
        return
    found = directory.read()
    assert [each.path for each in found.damaged] == [path]
    assert str(path) in found.damaged[0].reason
    left = directory.tidy(found)
    assert left.state is not None
    assert (left.entries == ()) == (name == OUTBOX)
    assert (left.state.residual == b"") == (name == RESIDUAL)
    assert not path.exists()
    assert path.with_name(f"{path.name}.damaged-1").exists()
    again = directory.read()
    assert again.damaged == () or name == RESIDUAL  # until the state is written next, it names what is not there
    directory.release()


def test_a_missing_residual_is_survived_too(directory: StateDirectory) -> None:
    directory.write_state(DeviceState(b"D" * 16, 1, residual=b"r" * 32))
    left = directory.tidy(directory.read())
    assert left.state is not None
    assert left.state.residual == b""


def test_a_residual_that_is_damaged_while_the_device_runs_begins_at_zero(directory: StateDirectory) -> None:
    directory.store(entry(b"update"), b"residual")
    (directory.path / RESIDUAL).write_bytes(b"nonsense")
    assert directory.residuals.read(entry(b"update").digest) == b""
    assert not (directory.path / RESIDUAL).exists()


def test_of_what_is_set_aside_three_are_kept(directory: StateDirectory) -> None:
    for number in range(1, 7):
        path = directory.path / "outbox" / f"{number:02}"
        path.write_bytes(b"nonsense")
        directory.tidy(directory.read())
    kept = sorted(path.name for path in (directory.path / "outbox").iterdir())
    assert kept == ["04.damaged-4", "05.damaged-5", "06.damaged-6"]


def test_only_one_process_holds_it(directory: StateDirectory) -> None:
    second = StateDirectory(directory.path)
    assert second.is_held()
    with pytest.raises(StoreError, match="another fedloom-edge"):
        second.hold()
    directory.release()
    assert not second.is_held()
    second.hold()
    second.release()


def test_whether_it_is_held_is_asked_without_writing(directory: StateDirectory) -> None:
    """As on a disk that has become read-only, or where somebody has put something else in the lock's place."""
    lock = directory.path / "lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()
    assert not directory.is_held()
    lock.rmdir()
    lock.symlink_to(lock)
    with pytest.raises(StoreError, match="lock: cannot be read"):
        directory.is_held()


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


def test_what_a_killed_process_has_left_is_made_durable_before_it_counts(
    directory: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process before may have died between the rename of an update and the fsync of its directory."""
    directory.release()
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    StateDirectory(directory.path).hold()
    outbox, residuals = directory.path / "outbox", directory.path / "residuals"
    assert {each.stat().st_ino for each in (directory.path.parent, directory.path, outbox, residuals)} <= set(synced)


def test_variates_stay_as_long_as_the_state_or_an_update_names_them(directory: StateDirectory) -> None:
    current, offered, waiting, gone = (entry(name) for name in (b"current", b"offered", b"waiting", b"gone"))
    for each in (current, offered, waiting, gone):
        directory.store(each, None, each.blob)
    directory.write_state(DeviceState(b"D" * 16, 1, control=current.digest, offered=offered.digest))
    for each in (current, offered, gone):
        directory.drop(each.digest)
    kept = {path.name for path in (directory.path / "controls").iterdir()}
    assert kept == {each.digest.hex() for each in (current, offered, waiting)}
    assert directory.controls.read(offered.digest) == b"offered"
    assert directory.tidy(directory.read()).state == directory.read().state


@pytest.mark.parametrize("name", ["control", "offered"])
def test_a_damaged_variate_is_set_aside_and_the_state_names_it_no_more(directory: StateDirectory, name: str) -> None:
    update = entry(b"update")
    directory.store(update, None, b"variate")
    directory.write_state(DeviceState(b"D" * 16, 1, **{name: update.digest}))  # type: ignore[arg-type]
    directory.drop(update.digest)
    path = directory.controls.file(update.digest)
    path.write_bytes(path.read_bytes()[:-1])
    found = directory.read()
    assert [each.path for each in found.damaged] == [path]
    state = directory.tidy(found).state
    assert state is not None
    assert getattr(state, name) == b""
    assert [each.name for each in path.parent.iterdir()] == [f"{path.name}.damaged-1"]
