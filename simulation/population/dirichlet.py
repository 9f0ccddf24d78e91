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
    pools = {number: rng.permutation(np.flatnonzero(classes == number)) for number in present.tolist()}
    prior = left[present] / len(classes)
    owners = np.empty(len(classes), np.intp)
    remaining = left[present]
    sizes = even_sizes(len(classes), clients)
    for client in rng.permutation(clients).tolist():
        taken = _draw(int(sizes[client]), rng.dirichlet(alpha * prior), remaining, rng)
        for number, stop, count in zip(present.tolist(), remaining.tolist(), taken.tolist(), strict=True):
            owners[pools[number][stop - count : stop]] = client
        remaining -= taken
    return owners


def _draw(
    size: int, mixture: NDArray[np.float64], remaining: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """(k,) how many of each class a client gets; what a class has no more of comes from the others."""
    taken = np.zeros_like(remaining)
    while missing := size - int(taken.sum()):
        odds = np.where(taken < remaining, mixture, 0.0)
        if not odds.sum() > 0.0:
            odds = (remaining - taken).astype(np.float64)
        taken = np.minimum(taken + rng.multinomial(missing, odds / odds.sum()), remaining)
    return taken
