"""What is compiled is kept on disk as long as nothing that it is made of has changed; and where nothing may be."""

import importlib
import sys

import pytest

from simulation.cohort.kernels import can_load_compiled

SOURCE = """
def double(x):
    return 2 * x
"""


def test_it_is_kept_until_the_package_changes(tmp_path, monkeypatch) -> None:
    pytest.importorskip("numba")
    from simulation.cohort.compiled import machine

    (tmp_path / "some_function.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    double = importlib.import_module("some_function").double

    def is_read() -> bool:
        made = machine.compiled(double)
        assert made(3) == 6
        return bool(made.stats.cache_hits)

    assert not is_read()
    assert is_read()
    monkeypatch.setattr(machine, "_SOURCES", b"others")
    assert not is_read()
    assert is_read()


def test_numba_that_may_not_compile_is_as_good_as_none(monkeypatch) -> None:
    numba = pytest.importorskip("numba")
    for name in [each for each in sys.modules if each.startswith("simulation.cohort.compiled")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert not can_load_compiled()
