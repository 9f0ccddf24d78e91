"""From a job to its population: rows dealt out once, held out as on a device, the same for the same seed."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from jobs import everybody, job, rows_of

from fedloom.data.config import SourceConfig
from fedloom.data.prepare import prepare
from fedloom.errors import ConfigError, InputError
from fedloom.features import summary_width
from fedloom.job import load_job
from fedloom.simulated import Simulation
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


def write_users(folder: Path) -> None:
    """Ten rows of each of three users, one after the other in turn; of class u and v by halves."""
    lines = [f"{'cab'[row % 3]},{row},{'uv'[row // 15]}" for row in range(30)]
    (folder / "all.csv").write_text("user,x,y\n" + "\n".join(lines) + "\n")


def test_each_value_of_a_column_is_a_client(tmp_path) -> None:
    write_users(tmp_path)
    simulation = {"dataset": "all.csv", "partition": {"method": "key", "key": "user"}}
    asked = job(simulation, inputs=1, classes=2)
    asked = msgspec.structs.replace(asked, data=msgspec.structs.replace(asked.data, classes=("u", "v")))
    population = build(asked, tmp_path / "job.toml", 0)
    assert population.clients == 3
    assert rows_of(population.training(np.array([2, 0]))) == [list(range(0, 24, 3)), list(range(1, 24, 3))]
    assert rows_of(population.holdout(np.array([1]))) == [[26, 29]]


def test_windows_are_cut_from_each_client_s_own_rows(tmp_path) -> None:
    lines = [f"{'ab'[row % 2]},{row},{row + 1},{row + 2},{row % 2}" for row in range(80)]
    (tmp_path / "all.csv").write_text("user,ax,ay,az,y\n" + "\n".join(lines) + "\n")
    simulation = {"dataset": "all.csv", "partition": {"method": "key", "key": "user"}}
    window = {"features": ["ax", "ay", "az"], "window": {"length": 8, "hop": 8}}
    population = build(
        job(simulation, inputs=summary_width(("ax", "ay", "az")), classes=2, **window), tmp_path / "j", 0
    )
    assert population.sizes(np.arange(2)).tolist() == [4, 4]
    assert population.pool.y[population.training(np.array([1])).rows].tolist() == [1] * 4
    assert population.holdout(np.arange(2)).sizes.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("labels", "simulation", "missing"),
    [
        ([0, 0, 0, 0, 1, 1], {"clients": 1}, "1"),  # the tail is held out
        ([0, 1, 0, 1, 0, 1], {"clients": 2}, "2"),
        ([0, 1, 0, 1, 0, 1], {"clients": 2, "samples": 10}, "2"),
    ],
)
def test_a_class_that_nobody_trains_on_is_named(tmp_path, labels, simulation, missing) -> None:
    np.savez(tmp_path / "all.npz", x=np.zeros((6, 1), np.float32), y=labels)
    asked = job({"dataset": "all.npz", **simulation}, inputs=1, classes=2 + (missing == "2"), holdout={"fraction": 0.4})
    with pytest.raises(ConfigError, match=rf"data.classes: no client has class '{missing}' to train on; take it out"):
        build(asked, tmp_path / "job.toml", 0)


def test_a_hold_out_that_takes_all_is_refused(tmp_path) -> None:
    np.savez(tmp_path / "all.npz", x=np.zeros((6, 1), np.float32), y=[0, 1] * 3)
    for asked in ({"clients": 6}, {"clients": 6, "samples": 1}):
        with pytest.raises(ConfigError, match=r"data.holdout.fraction: leaves a client nothing to train on; lower it"):
            build(
                job({"dataset": "all.npz", **asked}, inputs=1, classes=2, holdout={"fraction": 0.9, "by": "random"}),
                tmp_path / "job.toml",
                0,
            )


def test_data_for_devices_beside_a_data_set_are_one_too_many(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"simulation.dataset: 'digits' is dealt out, but a folder"):
        build(job({"dataset": "digits", "clients": 2}), tmp_path / "job.toml", 0, tmp_path)


def test_a_folder_of_files_is_a_client_each(tmp_path) -> None:
    (tmp_path / "users").mkdir()
    for name in "abc":
        np.savez(tmp_path / "users" / f"{name}.npz", x=np.zeros((5, 1), np.float32), y=[0, 1, 0, 1, 0])
    assert build(job({"dataset": "users"}, inputs=1, classes=2), tmp_path / "job.toml", 0).clients == 3
    with pytest.raises(ConfigError, match=r"simulation.partition: each data file is a client already"):
        build(
            job({"dataset": "users", "clients": 3, "partition": {"method": "shards"}}, inputs=1, classes=2),
            tmp_path / "job.toml",
            0,
        )


def test_the_watches_are_a_client_each() -> None:
    path = Path(__file__).parents[3] / "examples" / "watch" / "job.toml"
    watches = msgspec.structs.replace(load_job(path), simulation=Simulation(dataset="watch", clients=2))
    population = build(watches, path, 0)
    assert population.clients == 2
    assert population.pool.x.shape[1] == watches.model.inputs


@pytest.mark.parametrize("name", ["breast_cancer", "iris", "wine"])
def test_small_sets_are_in_a_random_order_so_that_any_tail_has_all_classes(name) -> None:
    inputs, classes = {"breast_cancer": (30, 2), "iris": (4, 3), "wine": (13, 3)}[name]
    population = build(job({"dataset": name, "clients": 3}, inputs=inputs, classes=classes), WHERE, 0)
    assert set(population.pool.y[population.holdout(everybody(population)).rows].tolist()) == set(range(classes))


def test_numbers_to_predict_are_dealt_out_too() -> None:
    asked = job({"dataset": "diabetes", "clients": 6, "partition": {"method": "quantity"}}, inputs=10, classes=0)
    population = build(asked, WHERE, 0)
    assert population.pool.y.shape == (442, 1)
    assert population.sizes(everybody(population)).min() >= 1


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
        (
            {
                "dataset": "digits",
                "clients": 9,
                "samples": 5,
                "partition": {"method": "dirichlet", "balanced": True, "min_samples": 2},
            },
            10,
            "simulation.partition.min_samples: each client draws simulation.samples = 5",
        ),
        (
            {"dataset": "digits", "clients": 9, "samples": 5, "partition": {"method": "quantity", "min_samples": 6}},
            10,
            "simulation.partition.min_samples: 6 is more than the average, simulation.samples = 5",
        ),
        (
            {"dataset": "digits", "clients": 9, "samples": 1798, "partition": {"method": "quantity"}},
            10,
            "simulation.samples: 1,798 on average, but no client draws more than the 1,797 samples .*; set it to 1,797",
        ),
        (
            {"dataset": "diabetes", "clients": 2, "partition": {"method": "features", "rotation": 9.0}},
            0,
            "simulation.partition.rotation: only square images can be turned, and a sample has 10",
        ),
        ({"dataset": "digits", "partition": {"method": "key", "key": "who"}}, 10, "digits: who: .*no 'who', only y"),
    ],
)
def test_what_cannot_be_dealt_out_is_refused(simulation, classes, message) -> None:
    inputs = 64 if classes else 10
    with pytest.raises(InputError, match=message):
        build(job(simulation, inputs=inputs, classes=classes), WHERE, 0)


def test_recordings_are_dealt_out_by_a_key_only(tmp_path) -> None:
    grouped = job({"dataset": "digits", "clients": 3}, groups=["y"])
    with pytest.raises(ConfigError, match=r"simulation.partition.method: 'iid' deals out single samples"):
        build(grouped, WHERE, 0)


def test_a_model_of_another_width_is_refused(tmp_path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((40, 2)), y=np.arange(40) % 10)
    said = r"job.toml: model.inputs: 9 inputs, but a sample of .*d.npz has 2 features; set it to 2, or change data"
    with pytest.raises(InputError, match=said):
        build(job({"dataset": "d.npz", "clients": 3}, inputs=9), tmp_path / "job.toml", 0)
