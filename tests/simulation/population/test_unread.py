"""What does not go with a data set of the catalogue is told before it is read."""

from pathlib import Path

import numpy as np
import pytest
from jobs import job

from fedloom.errors import ConfigError
from simulation.population import build, bundled, images
from simulation.population.unread import check_unread

WHERE = Path("job.toml")
TEN = {"dataset": "digits", "clients": 10}
MNIST = {"dataset": "mnist", "clients": 4}


@pytest.mark.parametrize(
    ("simulation", "changes", "said"),
    [
        (TEN, {"inputs": 63}, "model.inputs: 63 inputs, but a sample of 'digits' has 64 features; set it to 64"),
        (MNIST, {}, "model.inputs: 64 inputs, but a sample of 'mnist' has 784 features; set it to 784"),
        (TEN, {"features": ["pixels"]}, "data.features: ['pixels'], but 'digits' has x and y alone; set it to [\"x\"]"),
        (TEN, {"target": "label"}, "data.target: 'label', but 'digits' has x and y alone; set it to \"y\""),
        (
            TEN,
            {"classes": 2},
            "data.classes: 0, 1, but 'digits' has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; name these 10, as text",
        ),
        (
            {"dataset": "diabetes", "clients": 3},
            {"inputs": 10},
            "training.loss: 'cross_entropy' learns classes, but 'diabetes' has a number to predict; set it to 'mse' or",
        ),
        (
            TEN | {"clients": 2000},
            {},
            "simulation.clients: 2,000 clients are more than the 1,797 samples that there are",
        ),
        (
            TEN | {"test_fraction": 0.9999},
            {},
            "test_fraction: 0.9999 of 1,797 samples leaves none to train on; lower it",
        ),
        (TEN | {"test_fraction": 1e-9}, {}, "test_fraction: 1e-09 of 1,797 samples is none; raise it, or leave it out"),
        (
            TEN | {"partition": {"method": "dirichlet", "min_samples": 5000}},
            {},
            "10 clients with 5000 samples each at least are more than the 1,797 samples that there are to deal out; gi",
        ),
        (
            MNIST | {"clients": 41},
            {"inputs": 784},
            "41 clients are more than the 40 samples that there are to deal out",
        ),
        (
            MNIST | {"test_fraction": 0.1},
            {"inputs": 784},
            "test_fraction: 'mnist' has a test part of its own; leave it",
        ),
    ],
)
def test_it_is_told_without_the_samples(image_folder, monkeypatch, simulation, changes, said) -> None:
    """Of MNIST, only the head of a file is looked at."""
    monkeypatch.setenv(images.VARIABLE, str(image_folder.parent))
    monkeypatch.setattr(build, "open_dataset", None)  # nobody calls it
    with pytest.raises(ConfigError) as raised:
        build.build(job(simulation, **changes), WHERE, 0)
    assert str(raised.value).startswith("job.toml: ")
    assert said in str(raised.value)


def test_whatever_can_only_be_told_by_a_file_is_left_to_who_reads_it(tmp_path: Path) -> None:
    (tmp_path / "d.csv").touch()
    check_unread(job({"dataset": "d.csv", "clients": 4}), tmp_path / "job.toml")
    check_unread(job({"dataset": "digits", "clients": 10_000, "samples": 5}), WHERE)


@pytest.mark.parametrize("name", bundled.NAMES)
def test_what_is_said_of_the_sets_that_come_with_a_package_is_true(name: str) -> None:
    table = bundled.load(name)
    classes = len(np.unique(table.labels["y"])) if table.labels else 0
    assert (*table.numbers["x"].shape, classes) == bundled.SHAPES[name]
