"""One job in one process: devices train with fedloom's trainer, some attack, a strategy fuses; no broker, no spool."""

from typing import NamedTuple

import numpy as np
from digits import CLASSES, deal, flipped

from fedloom.job.choices import StrategyChoice
from fedloom.learning.dataset import Dataset
from fedloom.learning.evaluate import evaluate
from fedloom.learning.initialise import initial_weights
from fedloom.learning.layout import Vector
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.learning.trainer import Trainer
from fedloom.simulated_world import AttackKind
from simulation.world.attacks import ATTACKS as KINDS
from simulation.world.attacks import Seen
from strategies import ClientUpdate, FusionError, UpdatesInMemory, create
from strategies.base import Matrix

SPEC = ModelSpec(64, CLASSES, hidden=(32,))
ATTACKS: dict[str, tuple[AttackKind, float]] = {
    "none": ("none", 1.0),
    "sign flip": ("sign_flip", 1.0),
    "×10": ("sign_flip", 10.0),
    "noise": ("noise", 1.0),
    "label flip": ("label_flip", 1.0),
    "ALIE": ("alie", 1.0),
    "IPM 0.5": ("inner_product", 0.5),
    "IPM 10": ("inner_product", 10.0),
    "free rider": ("free_rider", 1.0),
}
"""Kind and strength, by their names in the table."""
PLAN = TrainPlan(loss="cross_entropy", learning_rate=0.2, batch_size=16, local_epochs=2)


class Case(NamedTuple):
    """One cell of the table, with one seed."""

    defence: str
    choice: StrategyChoice
    attack: str
    alpha: float | None
    attackers: int
    seed: int
    devices: int
    rounds: int


def final_accuracy(case: Case) -> float:
    """Of the last round's model on data that no device has; a round that cannot be fused changes nothing."""
    rng = np.random.default_rng(case.seed)  # the same fleet, model and order for every defence and attack
    fleet = deal(case.devices, case.alpha, rng)
    weights = initial_weights(SPEC, rng)
    bad = rng.permutation(case.devices)[: case.attackers]
    kind, strength = ATTACKS[case.attack]
    data = [
        flipped(each) if kind == "label_flip" and number in bad else each for number, each in enumerate(fleet.devices)
    ]
    strategy = create(case.choice, "the benchmark")
    state = strategy.initial_state(weights.size)
    trainer, moved = Trainer(SPEC, PLAN), np.zeros_like(weights)
    for _ in range(case.rounds):
        deltas = np.array([_trained(trainer, weights, each, rng) for each in data])
        seen = Seen(np.delete(deltas, bad, axis=0), deltas[bad], moved)
        deltas[bad] = KINDS[kind](seen, strength, rng)
        updates = [
            ClientUpdate(number.to_bytes(16, "big"), each.samples, delta)
            for number, (each, delta) in enumerate(zip(data, deltas, strict=True))
        ]
        given = UpdatesInMemory(updates, _trained(trainer, weights, fleet.root, rng))
        try:
            fused = strategy.fuse(weights, given, state)
        except FusionError:
            continue
        if np.isfinite(fused.weights).all():
            moved = fused.weights - weights
            weights, state = fused
    return _accuracy(weights, fleet.test)


def _trained(trainer: Trainer, weights: Vector, data: Dataset, rng: np.random.Generator) -> Vector:
    """The difference that a device makes; nothing where its training diverges, as the model was ruined."""
    fit = trainer.fit(weights, data, rng)
    delta: Matrix = fit.weights - weights
    return delta if np.isfinite(delta).all() else np.zeros_like(delta)


def _accuracy(weights: Vector, test: Dataset) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(evaluate(SPEC, PLAN.loss, weights, test).summary()["accuracy"])
