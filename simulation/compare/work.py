"""What a process of the comparison does."""

from simulation.api import simulate
from simulation.compare.plan import Run


def simulate_run(run: Run) -> bytes:
    """Its History, as JSON; one process, as there are others beside it."""
    return simulate(run.job, where=run.path, root_set=run.root_set, workers=1).to_json()
