"""The work of all who are in a round, whichever models they train from, as one."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from simulation.cohort.admission import admit
from simulation.cohort.crew import Crew
from simulation.cohort.memory import ClientMemory
from simulation.cohort.round import Asked, Done, tested, work
from simulation.cohort.task import Common, Context
from simulation.cohort.timetable import Entrants
from simulation.population.base import Ids

_CHUNKS = 1 << 20
"""A round has fewer, of each model."""


class _Part(NamedTuple):
    """The entrants of one model."""

    rows: Ids
    """Where they stand among all."""
    asked: Asked
    done: Done


def gather(
    crew: Crew, context: Context, clients: ClientMemory, entrants: Entrants, commons: Mapping[int, Common], number: int
) -> tuple[Asked, Done]:
    """Have a crew do the work of round `number`.

    `commons` are the rounds from whose models the entrants train. Older ones come first, as a client has done them; it
    has had its receipt by then, so where there are several it is settled here what clients keep.
    """
    if (entrants.bases == number).all():  # as in every round without staleness
        common = commons[number]
        asked = clients.asked(entrants.ids, entrants.evaluates, common.weights, trains=common.trains)
        return asked, work(crew, context, common, asked)
    parts: list[_Part] = []
    for base in np.unique(entrants.bases).tolist():
        rows = np.flatnonzero(entrants.bases == base)
        common, is_new = commons[base], base == number
        asked = clients.asked(entrants.ids[rows], entrants.evaluates[rows], common.weights, trains=common.trains)
        done = work(crew, context, common, asked, first_chunk=(number - base) * _CHUNKS, tests=is_new)
        if asked.own is not None:  # of which some have been evaluated
            asked = asked._replace(own=asked.own.still() if is_new else None)
        settled = done
        if context.attackers is not None:  # what is lost of a lie is known when it is forged
            settled = done._replace(is_able=done.is_able & ~context.attackers.forging(asked.ids, base))
        clients.settled(asked, settled, admit(done, context.job).is_in, common.plan)
        parts.append(_Part(rows, asked, done._replace(deltas=done.deltas.copy())))
    asked, done = _together(entrants, parts)
    if context.test and done.test is None:
        done = done._replace(test=tested(crew, context, commons[number]))
    return asked, done


def _together(entrants: Entrants, parts: Sequence[_Part]) -> tuple[Asked, Done]:
    """In the entrants' order; what a client keeps is kept by now."""
    order = np.argsort(np.concatenate([part.rows for part in parts]))
    done = [part.done for part in parts]
    merged = Done(
        deltas=np.concatenate([each.deltas for each in done])[order],
        samples=np.concatenate([each.samples for each in done])[order],
        steps=np.concatenate([each.steps for each in done])[order],
        train_losses=np.concatenate([each.train_losses for each in done])[order],
        losses=np.concatenate([each.losses for each in done])[order],
        rate_sums=np.concatenate([each.rate_sums for each in done])[order],
        is_able=np.concatenate([each.is_able for each in done])[order],
        reasons=sorted({reason for each in done for reason in each.reasons}),
        metrics=np.sum([each.metrics for each in done], axis=0),
        test=next((each.test for each in done if each.test is not None), None),
        residuals=None,
        controls=None,
        own=None,
        keeps=np.concatenate([each.keeps for each in done])[order],
        sent_bytes=sum(each.sent_bytes for each in done),
    )
    own = next((part.asked.own for part in parts if part.asked.own is not None), None)
    if own is not None:  # of the newest model's clients, who alone evaluate
        own = own._replace(ids=entrants.ids)
    return Asked(entrants.ids, entrants.evaluates, own=own), merged
