"""The allocator's settings have their effect, in a process of its own; and BLAS is kept to one thread."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge_client import cli

MAPPED = """
import ctypes, sys
from edge_client.memory import keep_small
libc, kept = ctypes.CDLL(None), sys.argv[1] == "kept"
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in "arena ordblks smblks hblks hblkhd us fs uord ford keep".split()]
libc.mallinfo.restype = Info
if kept:
    keep_small()
bytes(2**24)  # freed at once: left alone, glibc then takes blocks of up to this size from its heap
before = libc.mallinfo().hblks
block = bytes(2**20)
print(libc.mallinfo().hblks - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo"), reason="the C library is not glibc")
def test_large_blocks_are_mapped_and_so_go_back_to_the_system() -> None:
    mapped = {
        how: subprocess.run([sys.executable, "-c", MAPPED, how], capture_output=True, text=True, check=True).stdout
        for how in ("kept", "left")
    }
    assert mapped == {"kept": "1\n", "left": "0\n"}


@pytest.mark.parametrize("name", ["OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_blas_gets_one_thread_unless_the_user_says_otherwise(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = ["status", "--config", str(tmp_path / "none.toml")]
    monkeypatch.setenv(name, "3")
    cli.main(status)
    assert os.environ[name] == "3"
    monkeypatch.delenv(name)
    cli.main(status)
    assert os.environ[name] == "1"
