"""Label skew: how much of each class a client has is drawn from a Dirichlet distribution.

- Not balanced: each class is cut into shares q ~ Dir(α, …, α) over the clients, so that clients differ in classes and
  in size. Source: Yurochkin et al. 2019, arXiv:1905.12022; Li et al. 2022 (NIID-Bench), arXiv:2102.02079.
- Balanced: each client draws its mixture of classes q ~ Dir(α·p), p the classes' shares of all data, and equally many
  samples by it, without replacement; of a class that has run out nobody gets more, so that who comes last gets what is
  left. Clients come in random order. Source: Hsu et al. 2019, arXiv:1909.06335.

Small α: next to one class a client; α → ∞: everybody has all classes, as with `iid`.
"""

import numpy as np
from numpy.typing import NDArray

from simulation.population.iid import even_sizes
from simulation.population.rows import Owners


def deal(classes: NDArray[np.int64], clients: int, alpha: float, rng: np.random.Generator) -> Owners:
    """(n,) who owns each row, of (n,) class numbers; clients may come out with none."""
    owners = np.empty(len(classes), np.intp)
    for number in range(int(classes.max()) + 1):
        members = rng.permutation(np.flatnonzero(classes == number))
        cuts = np.rint(np.cumsum(rng.dirichlet(np.full(clients, alpha))) * len(members)).astype(np.int64)
        cuts[-1] = len(members)
        owners[members] = np.repeat(np.arange(clients), np.diff(cuts, prepend=0))
    return owners


def deal_balanced(classes: NDArray[np.int64], clients: int, alpha: float, rng: np.random.Generator) -> Owners:
    """(n,) who owns each row, of (n,) class numbers; sizes differ by one at most."""
    left = np.bincount(classes)
    present = np.flatnonzero(left)
    pools = [rng.permutation(np.flatnonzero(classes == number)) for number in present.tolist()]
    shapes = alpha * (left[present] / len(classes))
    remaining = left[present]
    sizes, order = even_sizes(len(classes), clients), rng.permutation(clients)
    taken = np.zeros((clients, len(present)), np.int64)
    for counts, size in zip(taken, sizes[order].tolist(), strict=True):
        counts[:] = _draw(size, rng.dirichlet(shapes), remaining, rng)
        remaining -= counts
    owners = np.empty(len(classes), np.intp)
    for pool, counts in zip(pools, taken.T, strict=True):
        owners[pool[::-1]] = np.repeat(order, counts)
    return owners


def _draw(
    size: int, mixture: NDArray[np.float64], remaining: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """(k,) how many of each class a client gets; what a class has no more of comes from the others."""
    taken = np.zeros_like(remaining)
    if np.minimum.reduce(remaining) >= size and (total := np.add.reduce(mixture)) > 0.0:
        return rng.multinomial(size, mixture / total)  # as below, without what most clients do not need
    while missing := size - int(taken.sum()):
        odds = np.where(taken < remaining, mixture, 0.0)
        if not odds.sum() > 0.0:
            odds = (remaining - taken).astype(np.float64)
        taken = np.minimum(taken + rng.multinomial(missing, odds / odds.sum()), remaining)
    return taken
