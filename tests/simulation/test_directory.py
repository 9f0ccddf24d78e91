"""Where a run leaves what it leaves, and what is in the way."""

import os
from pathlib import Path

import pytest

from fedloom.errors import InputError
from simulation.directory import check_file, check_folder, check_new, new_directory


def test_a_run_never_goes_into_a_directory_that_has_something_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = new_directory(None, "demo"), new_directory(None, "demo")
    assert first != second
    (first / "report.html").touch()
    with pytest.raises(InputError, match="is not an empty directory"):
        new_directory(first, "demo")
    assert new_directory(second, "demo") == second


def test_looking_makes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_new(None)
    check_new(Path("new/one"))
    check_folder(Path("cache/runs"), "--cache")
    check_file(Path("p.png"), "--out")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_runs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").touch()
    with pytest.raises(InputError, match=r"runs: --out: runs is a file, not a folder"):
        check_new(None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_what_may_not_be_written_is_told(tmp_path: Path) -> None:
    file = tmp_path / "p.png"
    file.touch(0o400)
    with pytest.raises(InputError, match="--out: you may not write this file; choose another, or change its perm"):
        check_file(file, "--out")
    tmp_path.chmod(0o500)
    try:
        for check in (check_folder, check_file):
            with pytest.raises(InputError, match=r"--cache: you may write nothing in .*; choose another folder"):
                check(tmp_path / "new", "--cache")
    finally:
        tmp_path.chmod(0o700)
