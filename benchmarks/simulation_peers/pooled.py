"""A plain loop over the clients, in this process or shared out among some: what one writes without a framework."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from multiprocessing import get_context

import numpy as np
import task as tasks
from task import Array, Data, Task

Share = Callable[[Task, Sequence[Data], range, Sequence[Array]], list[Array]]
"""Σ of the models of these clients."""
_kept: list[tuple[Task, list[Data]]] = []


def run(share: Share, versions: Mapping[str, str], set_up: Callable[[], None] = lambda: None) -> None:
    """The setting begins with the number of processes."""
    task = tasks.from_arguments()
    clients, arrays, workers = tasks.data(task), tasks.initial(task), int(task.setting.split()[0])
    _kept.append((task, clients))
    set_up()
    ends = np.linspace(0, task.clients, workers + 1).astype(int).tolist()
    ranges = [range(*pair) for pair in pairwise(ends)]
    if workers == 1:

        def a_round() -> list[Array]:
            nonlocal arrays
            arrays = [total / np.float32(task.clients) for total in share(task, clients, ranges[0], arrays)]
            return arrays

        tasks.run(task, versions, clients, a_round)
        return
    with get_context("fork").Pool(workers, set_up) as pool:

        def a_round_shared() -> list[Array]:
            nonlocal arrays
            sums = pool.starmap(_part, [(share, part, arrays) for part in ranges], chunksize=1)
            arrays = [sum(parts) / np.float32(task.clients) for parts in zip(*sums, strict=True)]
            return arrays

        tasks.run(task, versions, clients, a_round_shared)


def _part(share: Share, part: range, arrays: Sequence[Array]) -> list[Array]:
    return share(*_kept[0], part, arrays)
