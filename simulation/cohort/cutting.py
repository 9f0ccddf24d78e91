"""A round's work in chunks: as large as is good for the kernel, and the same whoever does them."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from simulation.cohort.task import TestTask
from simulation.cohort.trainer import largest_group

_CHUNK_FLOP = 5e8
"""Some 5 to 20 ms, beside which it costs little to hand a chunk over."""
_FEWEST_CHUNKS = 4
"""Of a round with clients enough: so many hands at least have something to do."""
_TEST_ROWS = 2048


def boundaries(sizes: NDArray[np.int64], spec: ModelSpec, plan: TrainPlan) -> Iterator[tuple[int, int]]:
    """First client and end of each chunk: whole groups in lock step. `sizes` (n,) are the clients' samples."""
    clients = len(sizes)
    if not clients:
        return
    together = largest_group(spec, plan, int(sizes.max()))
    count = min(_CHUNK_FLOP / training_flop(sizes, spec.layout().size, plan), clients / _FEWEST_CHUNKS)
    chunk = together * max(1, math.ceil(count / together))
    for first in range(0, clients, chunk):
        yield first, min(first + chunk, clients)


def training_flop(sizes: NDArray[np.int64], weights: int, plan: TrainPlan) -> float:
    """Of a client in a round, on average: two for each weight and sample forwards, four backwards."""
    return 6.0 * weights * max(1.0, float(sizes.mean())) * plan.local_epochs


def test_tasks(samples: int) -> list[TestTask]:
    """All rows of a test set."""
    return [TestTask(start, min(start + _TEST_ROWS, samples)) for start in range(0, samples, _TEST_ROWS)]
