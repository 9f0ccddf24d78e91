"""From a job to its population: rows dealt out once, held out as on a device, the same for the same seed."""

from pathlib import Path

import numpy as np
import pytest
from jobs import everybody, job, rows_of

from fedloom.data.config import SourceConfig
from fedloom.data.prepare import prepare
from fedloom.errors import InputError
from simulation.population.build import build

WHERE = Path("job.toml")
PARTITIONS = [
    {"method": "iid"},
    {"method": "shards"},
    {"method": "dirichlet", "alpha": 0.1},
    {"method": "dirichlet", "alpha": 0.1, "balanced": True},
    {"method": "quantity", "min_samples": 3},
]


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("by", ["tail", "random"])
def test_every_sample_is_trained_on_held_out_or_tested_on(partition, by) -> None:
    asked = job(
        {"dataset": "digits", "clients": 40, "test_fraction": 0.25, "partition": partition},
        holdout={"by": by, "fraction": 0.3},
    )
    population = build(asked, WHERE, 7)
    ids = everybody(population)
    train, held = population.training(ids), population.holdout(ids)
    rows = np.concatenate([train.rows, held.rows])
    assert len(np.unique(rows)) == len(rows) == 1797 - round(1797 * 0.25)
    assert population.test.samples == round(1797 * 0.25)
    assert population.sizes(ids).tolist() == train.sizes.tolist()
    assert train.sizes.min() >= 1
    assert population.features(ids, train) is None
    again = build(asked, WHERE, 7).training(ids)
    assert (again.rows == train.rows).all()
    assert len(np.setdiff1d(build(asked, WHERE, 8).training(ids).rows, train.rows)) > 0


def test_any_order_gives_the_same_rows() -> None:
    population = build(job({"dataset": "digits", "clients": 9}), WHERE, 1)
    whole = rows_of(population.training(everybody(population)))
    assert rows_of(population.training(np.array([8, 2, 2, 0]))) == [whole[8], whole[2], whole[2], whole[0]]


@pytest.mark.parametrize("by", ["tail", "random"])
def test_a_device_with_the_same_rows_holds_the_same_ones_out(tmp_path, by) -> None:
    asked = job({"dataset": "digits", "clients": 30, "partition": {"method": "quantity"}}, holdout={"by": by})
    population = build(asked, WHERE, 4)
    for client in (0, 7, 29):
        ids = np.array([client])
        train, held = population.training(ids).rows, population.holdout(ids).rows
        rows = np.sort(np.concatenate([train, held]))
        np.savez(tmp_path / "device.npz", x=population.pool.x[rows], y=population.pool.y[rows])
        device = prepare(SourceConfig(str(tmp_path / "device.npz")), asked.data, "cross_entropy", 4)
        assert (device.train.x == population.pool.x[train]).all()
        assert (device.holdout.y == population.pool.y[held]).all()


def test_files_are_clients_as_their_devices_would_have_them(tmp_path) -> None:
    (tmp_path / "data").mkdir()
    x, y = np.arange(24, dtype=np.float32).reshape(12, 2), np.arange(12) % 2
    for name, rows in (("a", slice(0, 5)), ("b", slice(5, 12))):
        np.savez(tmp_path / "data" / f"{name}.npz", x=x[rows], y=y[rows])
    population = build(job(inputs=2, classes=2), tmp_path / "job.toml", 0)
    assert population.clients == 2
    assert population.sizes(np.array([1, 0])).tolist() == [6, 4]
    assert population.pool.x[population.training(np.array([1])).rows].tolist() == x[5:11].tolist()
    assert population.pool.x[population.holdout(np.array([0, 1])).rows].tolist() == x[[4, 11]].tolist()
    assert build(job({"clients": 1}, inputs=2, classes=2), tmp_path / "job.toml", 0).clients == 1


def test_a_file_beside_the_job_is_a_data_set(tmp_path) -> None:
    x = np.arange(20, dtype=np.float32).reshape(10, 2)
    np.savez(tmp_path / "all.npz", x=x, y=np.arange(10) % 2)
    asked = job({"dataset": "all.npz", "clients": 5}, inputs=2, classes=2, holdout={"fraction": 0.0})
    population = build(asked, tmp_path / "job.toml", 0)
    assert population.pool.x.tolist() == x.tolist()
    assert population.holdout(everybody(population)).rows.size == 0
    assert population.sizes(everybody(population)).tolist() == [2] * 5


@pytest.mark.parametrize(
    ("simulation", "classes", "message"),
    [
        ({"dataset": "digit", "clients": 2}, 10, "simulation.dataset: .*did you mean 'digits'"),
        ({"dataset": "digits"}, 10, "simulation.clients: is missing"),
        ({"dataset": "digits", "clients": 2000}, 10, r"simulation.clients: 2,000 clients .* 1,797 .*set it to 1,797"),
        (
            {"dataset": "digits", "clients": 1000, "partition": {"method": "shards"}},
            10,
            "simulation.clients: 1,000 clients with 2 samples each at least",
        ),
        (
            {"dataset": "diabetes", "clients": 10, "partition": {"method": "shards"}},
            0,
            "partition.method: 'shards' deals out classes",
        ),
    ],
)
def test_what_cannot_be_dealt_out_is_refused(simulation, classes, message) -> None:
    inputs = 64 if classes else 10
    with pytest.raises(InputError, match=message):
        build(job(simulation, inputs=inputs, classes=classes), WHERE, 0)
