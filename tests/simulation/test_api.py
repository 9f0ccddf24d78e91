"""`fedloom.simulate`: the same figures as the command, and nothing of it on a device."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import fedloom
from fedloom.errors import ConfigError, InputError
from fedloom.job import load_job

JOB = """
name = "digits"
[model]
inputs = 64
outputs = 10
[data]
features = ["x"]
target = "y"
classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
[training]
loss = "cross_entropy"
[rounds]
count = 3
[simulation]
dataset = "digits"
clients = 10
test_fraction = 0.2
[sweep]
seed = [1, 2]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path / "job.toml"


def test_a_job_and_its_file_give_the_same_run_with_any_number_of_workers(path: Path) -> None:
    first = fedloom.simulate(path)
    assert first.rounds == [0, 1, 2, 3]
    assert first.best("test_accuracy").value > 0.6
    assert len(first.clients["accuracy"]) == 10
    assert first.job == "digits"
    again = fedloom.simulate(load_job(path), workers=2)
    assert again.columns().keys() == first.columns().keys()
    for name in ("test_loss", "accuracy", "update_bytes"):
        assert again.columns()[name] == pytest.approx(first.columns()[name], rel=1e-6)
    for name, values in first.clients.items():
        assert again.clients[name] == pytest.approx(values)


def test_rounds_and_seed_can_be_others_than_the_job_s(path: Path) -> None:
    seeded = fedloom.simulate(str(path), rounds=1, seed=7)
    assert seeded.rounds == [0, 1]
    job = load_job(path)
    same = msgspec.structs.replace(job, seed=7, rounds=msgspec.structs.replace(job.rounds, count=1))
    assert fedloom.simulate(same).series("loss") == seeded.series("loss")
    assert fedloom.simulate(path, rounds=1).series("loss") != seeded.series("loss")
    assert fedloom.simulate(path, settings={"seed": 7, "rounds.count": 1}).metrics == seeded.metrics
    with pytest.raises(ConfigError, match=r"with training\.lerning_rate = 1: .*did you mean 'learning_rate'"):
        fedloom.simulate(path, settings={"training.lerning_rate": 1})
    with pytest.raises(ConfigError, match=r"with rounds\.count = 0: rounds\.count"):
        fedloom.simulate(path, rounds=0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"engine": "cohrot"}, "fedloom.simulate: engine: 'cohrot' is not one; did you mean 'cohort'?"),
        ({"engine": None}, "fedloom.simulate: engine: None is not one; choose from cohort, processes, ray"),
        ({"backend": "jax"}, "fedloom.simulate: backend: 'jax' is not one; choose from auto, numpy, numba, torch"),
        ({"workers": -1}, "fedloom.simulate: workers: -1 is no number of processes; give one, or 0"),
        ({"workers": "two"}, "fedloom.simulate: workers: 'two' is no number of processes; give one, or 0"),
        ({"workers": 100_000}, "--workers: 100,000 processes are too many"),
        (
            {"engine": "processes", "workers": 2},
            "fedloom.simulate: workers: is of engines cohort and ray; leave it out",
        ),
        ({"engine": "processes", "backend": "torch"}, "fedloom.simulate: backend: is of engines cohort and ray"),
        ({"address": "auto"}, "fedloom.simulate: address: is of engine ray; set engine to ray"),
        ({"data": 3}, "fedloom.simulate: data: 3 is no path; give a str or a Path"),
        ({"where": ["job.toml"]}, "fedloom.simulate: where: ['job.toml'] is no path; give a str or a Path"),
        ({"root_set": "own.csv"}, "own.csv: --root-set: the rule of job digits, 'fedavg', makes nothing of it"),
        ({"settings": ["seed", 3]}, "fedloom.simulate: settings: ['seed', 3] is no dict by path; give one, as {"),
        ({"settings": {3: 4}}, "fedloom.simulate: settings: {3: 4} is no dict by path; give one, as {"),
        ({"settings": {"seed": "x"}}, "job.toml with seed = x: seed: 'x': expected `int`, got `str`"),
        ({"settings": {"training.l2": float("nan")}}, "training.l2: nan is not a finite number; correct the value"),
        ({"seed": 1.5}, "job.toml with seed = 1.5: seed: 1.5: expected `int`, got `float`; correct the value"),
        ({"rounds": "3"}, "rounds.count: '3': expected `int`, got `str`; correct the value"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_with_what_can(path: Path, given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as raised:
        fedloom.simulate(path, **given)
    assert said in str(raised.value)


@pytest.mark.parametrize("job", [None, 3, {"name": "digits"}])
def test_what_is_no_job_is_refused(job: Any) -> None:
    with pytest.raises(
        InputError, match=r"fedloom.simulate: job: .* is no job; give the path of its file, or what load_job"
    ):
        fedloom.simulate(job)


def test_an_empty_job_is_refused(path: Path) -> None:
    path.write_text("")
    with pytest.raises(InputError, match=r"job.toml: name: is missing; add it"):
        fedloom.simulate(path)


def test_progress_is_shown_to_who_asks(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fedloom.simulate(path, rounds=1)
    assert capsys.readouterr().out == ""
    fedloom.simulate(path, rounds=1, progress=True)
    assert "round 1 of 1: 10 updates" in capsys.readouterr().out


@pytest.mark.broker
def test_the_same_job_runs_as_processes_which_leave_nothing_behind(path: Path, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    path.write_text(JOB.replace("clients = 10", "clients = 2"))
    history = fedloom.simulate(path, engine="processes", rounds=1)
    assert (history.engine, history.rounds, history.updates) == ("processes", [0, 1], [2])
    assert history.update_bytes > fedloom.simulate(path, rounds=1).update_bytes  # they are sealed
    assert list((tmp_path / "scratch").iterdir()) == []


def test_the_data_of_a_job_is_looked_for_beside_its_file(tmp_path: Path, path: Path) -> None:
    job = load_job(path)
    own = msgspec.structs.replace(job, simulation=msgspec.structs.replace(job.simulation, dataset="own.npz"))
    with pytest.raises(InputError, match=r"elsewhere/job\.toml.*own\.npz"):
        fedloom.simulate(own, where=tmp_path / "elsewhere" / "job.toml")


def test_what_is_not_there_is_told_as_python_tells_it() -> None:
    with pytest.raises(AttributeError, match="module 'fedloom' has no attribute 'simulat'"):
        fedloom.simulat  # type: ignore[attr-defined]  # noqa: B018 - asking is what is tested


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_nothing_of_a_simulation_is_loaded_before_somebody_asks_for_it() -> None:
    loaded = "print([name for name in ('simulation', 'importlib.metadata', 'numpy', 'msgspec') if name in sys.modules])"
    assert python(f"import sys, fedloom; {loaded}") == "[]"
    assert python(f"import sys, fedloom; fedloom.simulate; {loaded}") != "[]"


def test_where_the_extra_is_missing_the_error_names_it() -> None:
    code = (
        "import sys; sys.modules['rich'] = None; import fedloom\n"
        "try: fedloom.simulate\n"
        "except fedloom.errors.InputError as error: print(error)"
    )
    assert python(code) == "fedloom.simulate: rich is not installed; run: pip install 'fedloom[sim]'"
