"""A disk that takes no more: said with what helps, and never with the advice to go back to an older backup."""

import subprocess
import sys

import pytest

from aggregator.backup.take import take
from aggregator.database import open_database
from fedloom.errors import StoreError

LIMITED = """
import resource, sys
from fedloom.command import main
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
sys.exit(main(sys.argv[1:]))
"""


def quiet(*progress):
    """Nobody watches."""


@pytest.fixture
def operator(rig, tmp_path):
    """`operator(size_bytes, *command)`: exit status and words of a command that can write no file larger than that."""
    rig.answer_all()
    rig.crash()
    (rig.directory / "aggregator.toml").write_text('job = "job.toml"\n[broker]\nhost = "localhost"\n')

    def run(size_bytes, *command):
        call = [sys.executable, "-c", LIMITED.format(size=size_bytes), *command]
        done = subprocess.run(call, capture_output=True, text=True, cwd=rig.directory, timeout=60)
        return done.returncode, done.stderr

    return run


@pytest.mark.parametrize("command", ["run", "status", "gc"])
def test_a_database_on_it_is_not_called_damaged(operator, rig, tmp_path, command):
    take(rig.state, tmp_path / "backup", quiet)
    status, said = operator(8192, "aggregator", command)
    assert status == 1
    assert "aggregator.db: cannot be used (disk I/O error); free or repair the disk" in said
    assert "restore" not in said


def test_a_database_that_is_no_file_is_not_restored_over(tmp_path):
    (tmp_path / "aggregator.db").mkdir()
    with pytest.raises(StoreError, match="see that it is a file"):
        open_database(tmp_path / "aggregator.db")


def test_a_backup_and_a_restore_end_with_a_line(operator, rig, tmp_path):
    assert operator(8192, "aggregator", "backup", str(tmp_path / "small"))[0] == 1
    take(rig.state, tmp_path / "backup", quiet)
    (rig.directory / "aggregator.toml").write_text('job = "job.toml"\nstate = "new"\n[broker]\nhost = "localhost"\n')
    status, said = operator(8192, "aggregator", "restore", str(tmp_path / "backup"))
    assert (status, said.count("\n")) == (1, 1)
    assert "cannot be written (File too large)" in said
    assert operator(2**30, "aggregator", "restore", str(tmp_path / "backup"))[0] == 0


def test_a_backup_is_not_made_in_the_state_itself(rig):
    with pytest.raises(StoreError, match="is in the state directory, and would be lost with it"):
        take(rig.state, rig.state / "models" / "backup", quiet)
    assert not (rig.state / "models" / "backup").exists()
