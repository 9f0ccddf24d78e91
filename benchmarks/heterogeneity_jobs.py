"""The jobs of heterogeneity.py, as their files would have them."""

from pathlib import Path
from typing import NamedTuple

from fedloom import config
from fedloom.job import Job, check_job
from fedloom.sweep import Value

CLIENTS = 100
COHORT = 0.1
ALPHA = 0.1
WHERE = Path("heterogeneity.toml")
"""What errors name: the jobs are made here."""


class Setting(NamedTuple):
    """Data, how they are dealt out, and how they are learned."""

    dataset: str
    balanced: bool
    """All clients have equally many samples."""
    inputs: int
    test_fraction: float
    """0 where the data set has a test part of its own."""
    epochs: int
    batch: int
    rounds: int
    tuning_rounds: int
    target: float
    """Accuracy to which rounds are counted."""
    seeds: int

    @property
    def title(self) -> str:
        """As the page calls it."""
        return f"{self.dataset}, {'equally many samples each' if self.balanced else 'many here, few there'}"


class Strategy(NamedTuple):
    """One that is tried, with the option that is tuned."""

    name: str
    option: str
    values: tuple[float, ...]

    def tables(self) -> list[Value]:
        """`[strategy]` with each value."""
        beside: dict[str, float] = {"devices": CLIENTS} if self.name in ("scaffold", "feddyn") else {}
        return [{"name": self.name, "options": {self.option: value, **beside}} for value in self.values]


def job(setting: Setting) -> Job:
    """Without a strategy, and with the rounds that tuning has."""
    classes = [str(number) for number in range(10)]
    table = {
        "name": setting.dataset,
        "model": {"inputs": setting.inputs, "hidden": [32], "outputs": len(classes)},
        "data": {"features": ["x"], "target": "y", "classes": classes, "holdout": {"fraction": 0.0}},
        "training": {"loss": "cross_entropy", "batch_size": setting.batch, "local_epochs": setting.epochs},
        "rounds": {
            "count": setting.tuning_rounds,
            "devices": CLIENTS,
            "cohort": COHORT,
            "min_updates": 1,
            "evaluate": 0.0,
        },
        "simulation": {
            "dataset": setting.dataset,
            "clients": CLIENTS,
            "test_fraction": setting.test_fraction,
            "partition": {"method": "dirichlet", "alpha": ALPHA, "balanced": setting.balanced},
        },
    }
    made = config.convert(table, Job, str(WHERE))
    check_job(made, str(WHERE))
    return made
