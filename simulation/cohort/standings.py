"""What a round has told of its clients, for rules that choose by it; see `aggregator.admission`."""

from collections.abc import Iterator

import numpy as np

from aggregator.records import Standing
from fedloom.job import Job
from simulation.cohort.round import Asked, Done
from simulation.cohort.task import Mask
from simulation.cohort.timetable import Entrants
from simulation.population.base import Population, device_id

Counts = tuple[int, ...]


def of_statistics(population: Population) -> list[Standing]:
    """Of everybody: how many samples each has."""
    sizes = population.sizes(np.arange(population.clients))
    return [Standing(device_id(client), size) for client, size in enumerate(sizes.tolist())]


def standings(
    job: Job, population: Population, entrants: Entrants, asked: Asked, done: Done, is_in: Mask
) -> list[Standing]:
    """Of those whose updates were accepted in this round."""
    seconds = [None] * len(asked.ids) if entrants.seconds is None else entrants.seconds.tolist()
    counts = dict(_class_counts(job, population, asked)) if job.data.classes else {}
    trained = done.train_losses / np.maximum(done.samples, 1)
    losses = np.where(np.isnan(done.losses), trained, done.losses)
    return [
        Standing(
            device_id(int(asked.ids[row])),
            int(done.samples[row]),
            float(losses[row]),
            seconds[row],
            class_counts=counts.get(row, ()),
            answered=int(entrants.bases[row]),
        )
        for row in np.flatnonzero(is_in).tolist()
    ]


def _class_counts(job: Job, population: Population, asked: Asked) -> Iterator[tuple[int, Counts]]:
    """Row → samples of each class in the hold-out, of those that have evaluated any."""
    rows = np.flatnonzero(asked.evaluates)
    held = population.holdout(asked.ids[rows])
    y, starts = population.pool.y[held.rows], held.starts
    for row, first, last in zip(rows.tolist(), starts[:-1], starts[1:], strict=True):
        if last > first:
            yield row, tuple(np.bincount(y[first:last], minlength=len(job.data.classes)).tolist())
