"""The torch backend against numpy's, which is compared with a device in test_trainer.py."""

import numpy as np
import pytest
from some_cohorts import PLANS, RAGGED, cohort

from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from simulation.cohort.trainer import CohortTrainer


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "nesterov", "adam"])
@pytest.mark.parametrize("name", PLANS)
def test_torch_trains_as_numpy_does(name: str, optimiser: str, activation: str) -> None:
    common = {"loss": "cross_entropy", "batch_size": 4, "local_epochs": 3, "learning_rate": 0.03}
    plan = TrainPlan(**common | PLANS[name] | {"optimiser": optimiser})  # type: ignore[arg-type]
    spec = ModelSpec(inputs=12, outputs=3, hidden=(6, 5), activation=activation, dropout=0.2)  # type: ignore[arg-type]
    shards, _, start = cohort(spec, plan, RAGGED[:4])
    linear = 0.1 * np.ones_like(start) if plan.correction != "none" else None
    numpy, torch = (
        CohortTrainer(spec, plan, np.float64, backend).fit(start, shards, np.random.default_rng(3), linear)
        for backend in ("numpy", "torch")
    )
    for one, other in zip(numpy, torch, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10)


def test_binary_classes() -> None:
    spec, plan = ModelSpec(inputs=4, outputs=1), TrainPlan(loss="binary_cross_entropy", batch_size=3)
    shards, _, start = cohort(spec, TrainPlan(loss="mse"), (7, 9))
    shards = shards._replace(targets=(shards.targets > 0).astype(float))
    numpy, torch = (
        CohortTrainer(spec, plan, np.float64, backend).fit(start, shards, np.random.default_rng(3))
        for backend in ("numpy", "torch")
    )
    np.testing.assert_allclose(numpy.deltas, torch.deltas, rtol=1e-9, atol=1e-12)
