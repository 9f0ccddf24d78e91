"""`fedloom simulate` with virtual clients, and with a process for each of the same clients."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedloom.command import main
from fedloom.data.config import SourceConfig
from fedloom.data.prepare import prepare
from fedloom.job import load_job
from fedloom.learning.model_file import load
from simulation.handing_out import job_of_files, write_parts
from simulation.history import History
from simulation.job_file import write_job
from simulation.population.build import build
from simulation.running import ignored

JOB = """
name = "digits"
seed = 3
[model]
inputs = 64
hidden = [16]
outputs = 10
[data]
features = ["x"]
target = "y"
classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
{data}
[training]
loss = "cross_entropy"
learning_rate = 0.1
batch_size = 16
[rounds]
count = 6
devices = 4
over_selection = 1.0
[simulation]
dataset = "digits"
clients = 4
test_fraction = 0.2
"""


@pytest.fixture
def job_path(tmp_path: Path) -> Path:
    path = tmp_path / "job.toml"
    path.write_text(JOB.format(data=""))
    return path


def simulate(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    """What it prints with --json."""
    with pytest.raises(SystemExit) as ended:
        main(["simulate", *map(str, arguments), "--json"])
    assert not ended.value.code
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def test_virtual_clients_are_the_default_where_the_job_says_how_many(
    job_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = simulate(capsys, job_path, "--rounds", 3, "--workers", 1, "--out", tmp_path / "out")
    assert out["rounds"] == 3
    assert out["metrics"]["test_accuracy"] > 0.5  # type: ignore[index]
    history = History.from_json((tmp_path / "out" / "history.json").read_bytes())
    assert (history.engine, history.rounds) == ("cohort", [0, 1, 2, 3])
    assert load(Path(history.model_path)).spec.hidden == (16,)


@pytest.mark.broker
def test_processes_come_to_the_same_curve(job_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    virtual = simulate(capsys, job_path, "--out", tmp_path / "virtual")
    real = simulate(capsys, job_path, "--engine", "processes", "--out", tmp_path / "real")
    assert len(list((tmp_path / "real" / "clients").iterdir())) == 4
    for name, within in (("accuracy", 0.05), ("loss", 0.1)):
        assert real["metrics"][name] == pytest.approx(virtual["metrics"][name], abs=within)  # type: ignore[index]
    weights = [load(Path(str(each["model"]))).weights for each in (virtual, real)]
    untrained = np.linalg.norm(weights[0])
    assert np.linalg.norm(weights[0] - weights[1]) < 0.2 * untrained  # the order of samples is another


@pytest.mark.broker
@pytest.mark.parametrize(
    ("text", "why", "remedy"),
    [
        ("learning_rate = 1e30", "training diverged", "lower training.learning_rate (now 1e+30)"),
        ("learning_rate = 0.1\n[update]\nmax_norm = 1e-6", "norm_exceeded", "or raise update.max_norm (now 1e-06)"),
    ],
)
def test_processes_end_where_they_would_diverge_for_ever(
    job_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, why: str, remedy: str
) -> None:
    job_path.write_text(job_path.read_text().replace("batch_size = 16", "").replace("learning_rate = 0.1", text))
    assert main(["simulate", str(job_path), "--engine", "processes", "--out", str(tmp_path / "real")]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("fedloom: error: 5 attempts failed; the last one: 0 updates of 2 needed")
    assert why in said
    assert "; lower training.learning_rate (now " in said
    assert said.endswith(remedy)


@pytest.mark.parametrize("holdout", ['[data.holdout]\nby = "tail"', '[data.holdout]\nby = "random"\nfraction = 0.3'])
def test_a_device_reads_what_its_virtual_client_has(tmp_path: Path, holdout: str) -> None:
    path = tmp_path / "job.toml"
    path.write_text(JOB.format(data=holdout))
    job = load_job(path)
    population = build(job, path, job.seed)
    files = write_parts(job, population, tmp_path / "clients")
    there = load_job(write_job(job_of_files(job), tmp_path / "there.toml"))
    for client, file in enumerate(files):
        read = prepare(SourceConfig(str(file)), there.data, there.training.loss, there.seed)
        ids = np.array([client])
        for part, samples in zip(read, (population.training(ids), population.holdout(ids)), strict=True):
            np.testing.assert_array_equal(part.x, population.pool.x[samples.rows])
            np.testing.assert_array_equal(part.y, population.pool.y[samples.rows])


def test_a_job_is_written_as_it_was_read(job_path: Path, tmp_path: Path) -> None:
    job = load_job(job_path)
    assert load_job(write_job(job, tmp_path / "again.toml")) == job


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--processes", "2"], "--processes: is of engine processes; set simulation.clients"),
        (["--engine", "processes", "--workers", "2"], "--workers: is of engines cohort and ray; leave it out"),
        (["--address", "auto"], "--address: is of engine ray; set --engine to ray"),
        (["--engine", "ray", "--processes", "2"], "--processes: is of engine processes"),
        (["--broker", "amqtt"], "--broker: is of engine processes; leave it out"),
        (["--rounds", "1000001"], "with rounds.count = 1000001: rounds.count: 1000001: expected `int` <= 1000000"),
        (["--out", "job.toml"], "job.toml: --out: is not an empty directory; choose another or remove it"),
        (["--out", "job.toml/x"], "job.toml/x: --out: job.toml is a file, not a folder; choose another folder"),
        (["--workers", "100000"], "--workers: 100,000 processes are too many for a machine of"),
        (
            ["--root-set", "job.toml"],
            "job.toml: --root-set: the rule of job digits, 'fedavg', makes nothing of it; leave it out, or set "
            "strategy.name to 'fltrust'",
        ),
        (["--engine", "processes", "--root-set", "job.toml"], "--root-set: the rule of job digits, 'fedavg', makes"),
    ],
)
def test_what_the_command_line_asks_for_and_cannot_be_is_refused_before_any_work(
    job_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(job_path.parent)
    assert main(["simulate", str(job_path), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in job_path.parent.iterdir()] == ["job.toml"]


def test_a_simulation_imports_nothing_that_it_does_not_need() -> None:
    """Each of these takes longer than a small simulation."""
    assert (
        imported("simulation.cli") & {"matplotlib", "sklearn", "sqlalchemy", "torch", "amqtt", "pandas", "asyncio"}
        == set()
    )


def test_virtual_clients_need_no_keys() -> None:
    """Each of these takes as long as some of their rounds."""
    for module in ("simulation.virtual", "simulation.cohort.hand"):
        assert imported(module) & {"cryptography", "ssl", "importlib.metadata", "rich", "asyncio", "paho"} == set()


def imported(module: str) -> set[str]:
    """What a process has that has imported this alone."""
    say = f"import sys, {module}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", say], capture_output=True, text=True, check=True).stdout.split())


def test_processes_say_which_tables_have_no_effect_on_them(job_path: Path) -> None:
    assert ignored(load_job(job_path)) == []
    job_path.write_text(job_path.read_text() + '[simulation.devices]\ndrops = 0.1\n[simulation.attack]\nkind = "nan"\n')
    assert ignored(load_job(job_path)) == ["[simulation.devices]", "[simulation.attack]"]


def test_engine_ray_without_ray(
    job_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["simulate", str(job_path), "--engine", "ray"]) == 2
    assert "Ray is not installed; run: pip install 'fedloom[ray]'" in capsys.readouterr().err
