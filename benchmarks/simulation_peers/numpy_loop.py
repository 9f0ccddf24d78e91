"""A plain loop in numpy."""

from collections.abc import Sequence

import numpy as np
import pooled
import sgd
from task import Array, Data, Task


def share(task: Task, clients: Sequence[Data], part: range, start: Sequence[Array]) -> list[Array]:
    """See `pooled.Share`."""
    rng = np.random.default_rng(part.start)
    totals = [np.zeros_like(array) for array in start]
    for number in part:
        for total, array in zip(totals, sgd.epoch(task, start, clients[number % len(clients)], rng), strict=True):
            total += array
    return totals


if __name__ == "__main__":
    pooled.run(share, {})
