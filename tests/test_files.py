"""Durable writing: all or nothing, private."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fedloom.errors import TrustError
from fedloom.files import (
    create_durably,
    create_private_directory,
    locked,
    make_private_directory,
    read_private,
    remove_private_directory,
    try_lock,
    write_durably,
)


def test_writing_replaces_and_leaves_nothing_beside(tmp_path):
    write_durably(tmp_path / "state", b"one")
    write_durably(tmp_path / "state", b"two")
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert read_private(tmp_path / "state") == b"two"


def test_a_write_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    write_durably(tmp_path / "state", b"one")

    def no_space(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_durably(tmp_path / "state", b"two")
    monkeypatch.undo()
    assert read_private(tmp_path / "state") == b"one"


def test_what_lies_beside_is_neither_followed_nor_taken_over(tmp_path):
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (tmp_path / ".state.new").symlink_to(tmp_path / "elsewhere")
    write_durably(tmp_path / "state", b"one")
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"
    assert not (tmp_path / "state").is_symlink()
    (tmp_path / ".state.new").touch(mode=0o666)
    (tmp_path / ".state.new").chmod(0o666)
    write_durably(tmp_path / "state", b"two")
    assert read_private(tmp_path / "state") == b"two"


def test_creating_never_overwrites(tmp_path):
    create_durably(tmp_path / "key", b"one")
    with pytest.raises(FileExistsError):
        create_durably(tmp_path / "key", b"two")
    assert read_private(tmp_path / "key") == b"one"


def test_a_shared_directory_is_refused(tmp_path):
    tmp_path.chmod(0o750)
    with pytest.raises(TrustError, match="chmod 700"):
        make_private_directory(tmp_path)


def test_a_removal_that_is_cut_short_leaves_room_for_the_next(tmp_path, monkeypatch):
    keys = tmp_path / "keys"
    create_private_directory(keys, {"key": b"one"})

    def cut(path, **_):
        if (path / "key").exists():
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("shutil.rmtree", cut)
    with pytest.raises(OSError, match="Input/output"):
        remove_private_directory(keys)
    monkeypatch.undo()
    assert not keys.exists()  # all or nothing, though its files are still on the disk
    assert [path.name for path in tmp_path.iterdir()] == [".keys.new"]
    create_private_directory(keys, {"key": b"two"})
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]
    remove_private_directory(keys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [".", "lock"])
def test_a_lock_is_for_one_and_ends_with_its_process(tmp_path, name):
    path = tmp_path / name
    code = "import sys; from pathlib import Path; from fedloom.files import try_lock; try_lock(Path(sys.argv[1]))"
    code += "; print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        open_files = len(list(Path("/proc/self/fd").iterdir()))
        assert try_lock(path) is None
        assert len(list(Path("/proc/self/fd").iterdir())) == open_files
        other.kill()
    ours = try_lock(path)
    assert ours is not None
    assert try_lock(path) is None
    os.close(ours)
    os.close(try_lock(path))
    if path.is_file():
        assert path.stat().st_mode & 0o777 == 0o600


def test_who_wants_what_is_locked_waits_its_turn(tmp_path):
    order = []

    def second():
        order.append("asks")
        asked.set()
        with locked(tmp_path):
            order.append("second")

    asked, thread = threading.Event(), threading.Thread(target=second)
    with locked(tmp_path):
        thread.start()
        assert asked.wait(10.0)
        assert try_lock(tmp_path) is None
        thread.join(0.2)  # it has every chance to come in too early
        order.append("first")
    thread.join(10.0)
    assert order == ["asks", "first", "second"]
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    os.close(try_lock(tmp_path))
