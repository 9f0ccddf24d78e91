"""Plans of every kind, and clients as unlike as can be."""

from itertools import pairwise

import numpy as np

from fedloom.learning.dataset import Dataset
from fedloom.learning.layout import Array
from fedloom.learning.losses import encode_targets
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from simulation.cohort.shards import Shards

RAGGED = (20, 20, 13, 0, 3, 20, 1, 8, 17, 13)
PLANS: dict[str, dict[str, object]] = {
    "plain": {},
    "l2": {"l2": 0.1},
    "l1": {"l1": 0.01},
    "proximal": {"proximal_mu": 0.3},
    "scaffold": {"correction": "scaffold"},
    "feddyn": {"correction": "feddyn", "proximal_mu": 0.2, "l2": 0.05, "schedule": "step", "step_every": 3},
    "clipped": {"clip_norm": 0.5},
    "cosine": {"schedule": "cosine"},
    "few steps": {"max_steps": 7},
    "early stopping": {"tolerance": 0.05, "local_epochs": 6},
    "full batch": {"batch_size": 0, "local_epochs": 5},
    "single samples": {"batch_size": 1},
    "class weights": {"class_weights": (1.0, 2.0, 0.5)},
    "squares": {"loss": "mse"},
    "huber": {"loss": "huber", "huber_delta": 0.5},
}
Cohort = tuple[Shards, list[Dataset], Array]


def cohort(spec: ModelSpec, plan: TrainPlan, sizes: tuple[int, ...], *, own_starts: bool = False) -> Cohort:
    """Clients whose rows lie scattered in a pool, each client's as a data set, and the weights that they start from."""
    rng = np.random.default_rng(7)
    n = sum(sizes)
    x = rng.standard_normal((n, spec.inputs))
    is_classes = plan.loss == "cross_entropy"
    y = rng.integers(0, spec.outputs, n) if is_classes else rng.standard_normal((n, spec.outputs))
    rows, starts = rng.permutation(n), np.concatenate([[0], np.cumsum(sizes)])
    shape = (len(sizes), spec.layout().size) if own_starts else spec.layout().size
    weights = np.array(plan.class_weights)[y] if plan.class_weights else None
    shards = Shards(x, encode_targets(y, plan.loss, spec.outputs, np.float64), rows, starts, weights)
    parts = [rows[start:stop] for start, stop in pairwise(starts)]
    return shards, [Dataset(x[part], y[part]) for part in parts], 0.3 * rng.standard_normal(shape)
