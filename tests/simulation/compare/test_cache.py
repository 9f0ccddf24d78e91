"""A run is known again by what it is made of: the job, its data and the code."""

import os

import numpy as np
import pytest

from fedloom.errors import InputError
from simulation.compare import cache
from simulation.compare.cache import Cache, key_of
from simulation.compare.plan import plan
from simulation.history import History


def key(path):
    return key_of(plan([path])[0])


def test_the_same_job_has_the_same_key_however_it_is_written(write_job):
    path = write_job()
    before = key(path)
    path.write_text("# a comment\nseed = 0\n" + path.read_text().replace("count = 2", "count =   2\nevaluate = 1.0"))
    assert key(path) == before
    path.write_text(path.read_text().replace("count =   2", "count = 3"))
    assert key(path) != before


def test_another_numba_computes_another_run(write_job, tmp_path, monkeypatch):
    path = write_job()
    before = key(path)
    (tmp_path / "numba-0.1.dist-info").mkdir()
    (tmp_path / "numba-0.1.dist-info" / "METADATA").write_text("Name: numba\nVersion: 0.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert key(path) != before


def test_a_sweep_s_run_is_that_of_the_job_that_says_the_same(write_job):
    swept = plan([write_job(sweep="seed = [7]")])[0]
    path = write_job()
    path.write_text("seed = 7\n" + path.read_text())
    assert key_of(swept) == key(path)


def test_other_data_makes_another_run_and_an_older_copy_of_it_the_same(write_job, tmp_path):
    path, data = write_job(dataset="own.npz"), tmp_path / "own.npz"
    keys = []
    for value in (0.0, 1.0, 0.0):
        np.savez(data, x=np.full((8, 64), value, np.float32), y=np.arange(8))
        os.utime(data, ns=(len(keys), len(keys)))
        keys.append(key(path))
    assert keys[0] == keys[2] != keys[1]
    data.unlink()
    with pytest.raises(InputError, match=r"own\.npz"):
        key(path)


def test_a_trace_of_devices_is_data_too(write_job, tmp_path):
    path, trace = write_job(), tmp_path / "trace.csv"
    path.write_text(path.read_text() + '[simulation.devices.availability]\npattern = "trace"\ntrace = "trace.csv"\n')
    with pytest.raises(InputError, match=r"trace\.csv: there is no such file; check the path in .*digits\.toml"):
        plan([path])
    keys = []
    for end in (100, 200):
        trace.write_text(f"client,from_s,to_s\n0,0,{end}\n")
        os.utime(trace, ns=(end, end))
        keys.append(key(path))
    assert keys[0] != keys[1]


def test_other_code_makes_another_run(write_job, monkeypatch):
    before = key(write_job())
    monkeypatch.setattr(cache, "code_digest", lambda: "another")
    assert key(write_job()) != before


def test_what_is_damaged_or_not_there_is_not_known(tmp_path):
    known = Cache(tmp_path / "runs")
    assert known.load("a") is None
    known.store("a", History(job="j", rounds=[0], metrics=[{}]).to_json())
    assert known.load("a") == History(job="j", rounds=[0], metrics=[{}])
    (tmp_path / "runs" / "a.json").write_bytes(b'{"rounds": [0')
    assert known.load("a") is None
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["a.json"]


def test_what_was_not_used_for_longest_goes_first(tmp_path):
    known = Cache(tmp_path)
    for age, name in enumerate("abc"):
        known.store(name, History().to_json())
        os.utime(tmp_path / f"{name}.json", (age, age))
    known.load("a")
    known.prune(2 * len(History().to_json()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "c.json"]
