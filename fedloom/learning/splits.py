"""Seeded index splits of n samples: hold-out and k-fold."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]


def hold_out(samples: int, fraction: float, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """(train, held out), each ascending; ⌊n·fraction⌋ samples are held out, drawn at random."""
    if not 0.0 <= fraction < 1.0:
        raise ValueError(f"a fraction of {fraction} cannot be held out")
    held = int(samples * fraction)
    order = rng.permutation(samples)
    return np.sort(order[held:]), np.sort(order[:held])


def k_fold(samples: int, folds: int, rng: np.random.Generator) -> Iterator[tuple[Indices, Indices]]:
    """(train, validation) of each fold, ascending; every sample is validated once, fold sizes differ by at most 1."""
    if not 2 <= folds <= samples:
        raise ValueError(f"{folds} folds of {samples} samples")
    return _folds(np.array_split(rng.permutation(samples), folds))


def _folds(parts: list[Indices]) -> Iterator[tuple[Indices, Indices]]:
    for number, part in enumerate(parts):
        rest = np.concatenate([*parts[:number], *parts[number + 1 :]])
        yield np.sort(rest), np.sort(part)
