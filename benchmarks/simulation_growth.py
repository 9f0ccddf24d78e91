"""What our simulation costs as it grows, a case in a process of its own: prints a line of JSON.

python benchmarks/simulation_growth.py '{"clients": 1000, "cohort": 100, "hidden": [32], "seconds": 1.0}'
"""

import json
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from aggregator.notices import RoundClosed
from fedloom import config
from fedloom.job import Job
from simulation.virtual import federation

SAMPLES = 20
INPUTS, OUTPUTS = 64, 10
MANY = 1_000_000


class Case(NamedTuple):
    """A federation on scikit-learn's digits, of which each client draws 20."""

    clients: int
    cohort: int
    """Clients in a round."""
    hidden: list[int]
    """Widths of the hidden layers."""
    seconds: float
    """After which no further round is begun."""

    @property
    def weights(self) -> int:
        """Of the model."""
        return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise((INPUTS, *self.hidden, OUTPUTS)))


def job_of(case: Case) -> Job:
    """Two steps of SGD a client and round."""
    whole = {
        "name": "growth",
        "model": {"inputs": INPUTS, "hidden": case.hidden, "outputs": OUTPUTS},
        "data": {
            "features": ["x"],
            "target": "y",
            "classes": [str(number) for number in range(OUTPUTS)],
            "standardise": False,
            "holdout": {"fraction": 0.0},
        },
        "training": {"loss": "cross_entropy", "learning_rate": 0.1, "batch_size": 10},
        "rounds": {"count": MANY, "devices": case.cohort, "cohort": case.cohort / case.clients, "evaluate": 0.0},
        "simulation": {"dataset": "digits", "clients": case.clients, "samples": SAMPLES},
    }
    return config.convert(whole, Job, "the benchmark")


def main() -> None:
    """The time until the first round is over, and the fastest of those after it."""
    case = Case(**json.loads(sys.argv[1]))
    began_s = time.perf_counter()
    times = [began_s]
    for notice in federation(job_of(case), Path("job.toml"), workers=1).run():
        if isinstance(notice, RoundClosed):
            times.append(time.perf_counter())
            if len(times) > 2 and times[-1] - times[1] > case.seconds:
                break
    round_s = min(later - earlier for earlier, later in pairwise(times[1:]))
    print(json.dumps({"first_s": times[1] - began_s, "round_s": round_s}))


if __name__ == "__main__":
    main()
