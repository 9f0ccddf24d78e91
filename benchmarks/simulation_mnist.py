"""MNIST to 97 % with the 2NN and the engine `cohort`, 100 clients of whom 10 are in a round: prints JSON.

python benchmarks/simulation_mnist.py WORKERS [BACKEND]
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import cast

from aggregator.notices import RoundClosed
from fedloom import config
from fedloom.job import Job
from simulation.cohort.kernels import Choice
from simulation.virtual import federation

TARGET = 0.97
MOST_ROUNDS = 100


def job() -> Job:
    """As in the first line of mcmahan.py's table."""
    classes = [str(number) for number in range(10)]
    return config.convert(
        {
            "name": "mnist",
            "seed": 1,
            "model": {"inputs": 784, "hidden": [200, 200], "outputs": 10},
            "data": {
                "features": ["x"],
                "target": "y",
                "classes": classes,
                "standardise": False,
                "holdout": {"fraction": 0.0},
            },
            "training": {"loss": "cross_entropy", "learning_rate": 0.3, "batch_size": 10},
            "rounds": {"count": MOST_ROUNDS, "devices": 10, "cohort": 0.1},
            "simulation": {"dataset": "mnist", "clients": 100},
        },
        Job,
        "the benchmark",
    )


def since_exec_s() -> float:
    """Of this process."""
    fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """A round's accuracy is that of the model that it begins with."""
    backend = cast("Choice", sys.argv[2] if len(sys.argv) > 2 else "auto")
    for notice in federation(job(), Path("job.toml"), workers=int(sys.argv[1]), backend=backend).run():
        if isinstance(notice, RoundClosed) and notice.metrics.get("test_accuracy", 0.0) >= TARGET:
            print(json.dumps({"seconds": since_exec_s(), "rounds": notice.round - 1}))
            return
    raise SystemExit(f"not reached in {MOST_ROUNDS} rounds")


if __name__ == "__main__":
    main()
