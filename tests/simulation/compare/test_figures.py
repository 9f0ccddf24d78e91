"""A figure to compare by is known to be measured before anything is."""

import msgspec
import pytest

from fedloom.errors import InputError
from fedloom.job import load_job
from fedloom.job.variants import variant
from simulation.api import simulate
from simulation.compare.figures import check_figure, measured


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"simulation.test_fraction": 0.0},
        {"rounds.evaluate": 0.0},
        {"data.holdout.fraction": 0.0},
        {"personal": {"method": "ditto", "epochs": 1}},
        {"personal": {"method": "fine_tune", "epochs": 1}},
        {"training.loss": "mse", "model.outputs": 1, "data.classes": ()},
        {"training.loss": "binary_cross_entropy", "model": {"inputs": 30, "outputs": 1}, "data.classes": ("0", "1"),
         "simulation.dataset": "breast_cancer"},
    ],
)  # fmt: skip
def test_what_is_said_to_be_measured_is(write_job, changes):
    path = write_job()
    history = simulate(path, settings=changes)
    job = variant(load_job(path), changes, str(path))
    assert sorted(measured(job)) == sorted(history.figures())


def test_another_is_refused_with_those_that_there_are(write_job):
    job = load_job(write_job())
    check_figure("test_f1_3", [job])
    with pytest.raises(InputError, match=r"--figure: 'acuracy' is measured in none .* did you mean 'accuracy'\?"):
        check_figure("acuracy", [job])
    with pytest.raises(
        InputError, match=r"'auc' is .*; choose from test_samples, test_loss, test_accuracy.*, recall, f1$"
    ):
        check_figure("auc", [job])
    unmeasured = msgspec.structs.replace(job, rounds=msgspec.structs.replace(job.rounds, evaluate=0.0))
    with pytest.raises(
        InputError, match=r"'accuracy' is measured in none of these runs; did you mean 'test_accuracy'\?"
    ):
        check_figure("accuracy", [unmeasured])
