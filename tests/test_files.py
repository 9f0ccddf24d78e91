"""Durable writing: all or nothing, private."""

import os

import pytest

from fedloom.errors import TrustError
from fedloom.files import create_durably, make_private_directory, read_private, write_durably


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
