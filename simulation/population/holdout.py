"""What each client holds out, by the rule of a device: of the same rows, the same ones are kept."""

import numpy as np
from numpy.typing import NDArray

from fedloom.job.data import Holdout
from simulation.population.base import Samples
from simulation.population.rows import offsets, within


def held_out(sizes: NDArray[np.int64], holdout: Holdout) -> NDArray[np.int64]:
    """(c,) how many of so many rows are kept for evaluation, see `fedloom.data.prepare`.

    >>> held_out(np.array([3, 10, 14]), Holdout(0.25, "tail")), held_out(np.array([3, 10, 14]), Holdout(0.25, "random"))
    (array([0, 2, 3]), array([1, 2, 4]))
    """
    share = sizes * holdout.fraction
    return (np.rint(share) if holdout.by == "random" else share).astype(np.int64)


def split(everything: Samples, holdout: Holdout, seed: int) -> tuple[Samples, Samples]:
    """What clients train on, and what they hold out; each part in the order of the rows."""
    sizes = everything.sizes
    kept = held_out(sizes, holdout)
    place = within(everything.starts)
    is_tail = holdout.by == "tail"
    is_held = place >= np.repeat(sizes - kept, sizes) if is_tail else _drawn(sizes, holdout, place, seed)
    return (
        Samples(everything.rows[~is_held], offsets(sizes - kept)),
        Samples(everything.rows[is_held], offsets(kept)),
    )


def _drawn(sizes: NDArray[np.int64], holdout: Holdout, place: NDArray[np.intp], seed: int) -> NDArray[np.bool_]:
    """As a device draws: clients with equally many rows hold out the same places."""
    masks = []
    distinct, which = np.unique(sizes, return_inverse=True)
    for size, count in zip(distinct.tolist(), held_out(distinct, holdout).tolist(), strict=True):
        mask = np.zeros(size, np.bool_)
        mask[np.random.default_rng(seed).permutation(size)[:count]] = True
        masks.append(mask)
    begins = offsets(distinct)[:-1]
    drawn: NDArray[np.bool_] = np.concatenate(masks)[np.repeat(begins[which], sizes) + place]
    return drawn
