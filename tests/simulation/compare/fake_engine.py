"""Work for the pool's processes, which import it by its name: a run does what its job is called."""

import os
import signal

import msgspec

from fedloom.errors import InputError
from simulation.compare.plan import Run
from simulation.history import History


def history(run: Run, **figures: list[float]) -> History:
    """Of two rounds of a second and 1,000 bytes each; accuracy goes to that of the seed, 0.9 for 9."""
    made = History(job=run.job.name, engine="fake", clients={"accuracy": [0.25, 0.5, run.job.seed / 10]})
    accuracy = figures.get("accuracy", [0.1, 0.4, run.job.seed / 10])
    for number, value in enumerate(accuracy):
        made.measured(number, {"accuracy": value, "loss": 1 - value})
        if number:
            made.trained(updates=2, seconds=0.5, update_bytes=1000, simulated_s=1800.0)
    return made


def work(run: Run) -> bytes:
    """Succeeds, fails in several ways, or tells how many threads BLAS may have."""
    match run.job.name:
        case "refused":
            raise InputError("job.toml", "model", "is too large", "make it smaller")
        case "broken":
            raise ZeroDivisionError("a bug")
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "threads":
            return msgspec.json.encode([os.environ["OPENBLAS_NUM_THREADS"], os.environ["OMP_NUM_THREADS"]])
    return history(run).to_json()
