"""The same job with virtual clients and with a broker, an aggregator and daemons."""

from pathlib import Path

import numpy as np
import pytest

import fedloom

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
[training]
loss = "cross_entropy"
learning_rate = 0.5
local_epochs = 5
batch_size = 0
[strategy]
name = "scaffold"
[update]
encoding = "topk"
share = 0.2
[cohort]
name = "class-balance"
[personal]
method = "ditto"
epochs = 2
[rounds]
count = 5
devices = 8
cohort = 0.5
over_selection = 1.0
[simulation]
dataset = "digits"
clients = 8
partition = { method = "dirichlet", alpha = 0.5 }
"""


@pytest.mark.broker
def test_where_only_the_order_of_samples_differs_two_engines_agree_to_rounding(tmp_path: Path) -> None:
    """All samples of a client are in each batch; cohorts, variates, own models and what encodings lose are the same."""
    path = tmp_path / "job.toml"
    path.write_text(JOB)
    virtual, real = fedloom.simulate(path), fedloom.simulate(path, engine="processes")
    assert virtual.rounds == real.rounds == [0, 1, 2, 3, 4, 5]
    assert virtual.updates == real.updates == [4] * 5
    for figure in ("accuracy", "loss", "personal_accuracy", "personal_loss"):
        np.testing.assert_allclose(virtual.series(figure), real.series(figure), rtol=0, atol=1e-4)
    assert virtual.series("accuracy")[-1] > virtual.series("accuracy")[0] + 0.3
