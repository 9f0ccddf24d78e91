"""Which updates of a round count, and with them the figures that came along: as `aggregator.admission` decides it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fedloom.job import Job
from simulation.cohort.chunk import Chunk
from simulation.cohort.round import Asked, Done
from simulation.cohort.sending import sound
from simulation.cohort.task import Common, Context, Mask, Task
from simulation.cohort.trainers import Trainers


class Admission(NamedTuple):
    """What was decided."""

    is_in: Mask
    """(n,)"""
    reasons: Sequence[str]
    """Why others were refused."""


def admit(done: Done, job: Job) -> Admission:
    """Those who have not declined, and are within the bounds of the job."""
    rules = job.update
    checks = {"max_samples": done.samples <= rules.max_samples, "max_norm": sound(done.deltas, rules.max_norm)}
    if done.controls is not None:
        checks["max_control_norm"] = sound(done.controls, rules.max_control_norm)
    is_in, reasons = done.is_able, []
    for key, passes in checks.items():
        if refused := int((is_in & ~passes).sum()):
            reasons.append(f"{refused} refused by update.{key}")
        is_in = is_in & passes
    return Admission(is_in, reasons)


def counted(done: Done, is_in: Mask, context: Context, common: Common, asked: Asked) -> Done:
    """Without the figures of those that are not in: they came with an update that does not count."""
    rows = np.flatnonzero(asked.evaluates & ~is_in)
    if not rows.size:
        return done
    own = None if asked.own is None else asked.own.rows(rows)
    task = Task(0, 0, asked.ids[rows], np.ones(len(rows), np.bool_), own=own)
    chunk = Chunk(context, Trainers(context.job.model, context.backend), common, task)
    return done._replace(metrics=done.metrics - chunk.measured())
