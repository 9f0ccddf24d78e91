"""One job in one process: virtual clients train, some attack, a strategy fuses; no broker, no spool."""

import contextlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from digits import CLASSES, deal

from aggregator.root_set import RootSet
from fedloom.data.prepare import Prepared
from fedloom.job import Job
from fedloom.job.choices import StrategyChoice
from fedloom.job.data import Data
from fedloom.job.rounds import Rounds
from fedloom.learning.dataset import Dataset
from fedloom.learning.evaluate import evaluate
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.simulated import Simulation
from fedloom.simulated_world import Attack, AttackKind
from simulation.cohort.crew import OneHand
from simulation.cohort.federation import Federation, SimulationError
from simulation.population.files import of_parts
from strategies.registry import needs_root_set

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
    """Of the last model on data that no device has; a rule that cannot fuse a round ends the job there."""
    fleet = deal(case.devices, case.alpha, np.random.default_rng(case.seed))
    nothing = Dataset(fleet.test.x[:0], fleet.test.y[:0])
    job = _job(case)
    root_set = RootSet(fleet.root, job) if needs_root_set(job, "the benchmark") else None
    clients = of_parts([Prepared(each, nothing) for each in fleet.devices])
    federation = Federation(job, Path("byzantine.toml"), clients, OneHand, root_set)
    with contextlib.suppress(SimulationError):
        for _ in federation.run():
            pass
    with np.errstate(over="ignore", invalid="ignore"):
        metrics = evaluate(SPEC, PLAN.loss, federation.model.weights, fleet.test)
    return float(metrics.summary()["accuracy"])


def _job(case: Case) -> Job:
    kind, strength = ATTACKS[case.attack]
    attack = Attack(kind, share=case.attackers / case.devices, strength=strength)
    return Job(
        name="byzantine",
        model=SPEC,
        data=Data(("x",), "y", classes=tuple("0123456789"), standardise=False),
        training=PLAN,
        rounds=Rounds(case.rounds, devices=case.devices, evaluate=0.0),
        strategy=case.choice,
        simulation=Simulation(attack=attack),
        seed=case.seed,
    )
