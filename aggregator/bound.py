"""How far from a recorded model another BLAS build may come, and for which rules that can be said.

The model is w + η · Σ c_k · Δ_k. The sum is made of float32 products `c @ block` over blocks of m = BLOCK_ROWS updates,
which a build may add up in any order, with fused multiply-adds or without; what follows is float64 and one cast. The
error of a block is below γ · Σ |c_k · Δ_k| with γ = m·u / (1 − m·u) and u = 2⁻²⁴ (Higham 2002, "Accuracy and stability
of numerical algorithms", section 3.1); the c_k of a mean add up to 1 at most, so that of all blocks is below
γ · max |Δ_k|. Two builds differ by at most twice that, times η, and each rounds once more. A last place of x is more
than u · |x|, so for each weight

    |a − b| ≤ (2·m·η + 1) · ulp₃₂(max(|w|, |Δ_1|, …, |Δ_n|, |a|, |b|))

The maximum is of what was added up: where updates cancel each other out, the sum is smaller than what it is made of.

Other rules divide by what they have computed or remember, or choose between updates by comparing numbers. There a
difference in a last place may become a large one, and no such bound is known.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.layout import Vector
from fedloom.wire.messages import Phase
from strategies import Strategy
from strategies.composed import Composed
from strategies.fedasync import MixedIn
from strategies.fedavg import Mean, Sgd
from strategies.fedbuff import Buffered
from strategies.summing import BLOCK_ROWS


def last_places(phase: Phase, strategy: Strategy) -> float | None:
    """By how many of them of the largest term two builds may differ; None where nobody can say."""
    if phase is not Phase.TRAIN:
        return 1.0  # statistics are sums in float64, and one cast
    match strategy:  # means whose coefficients add up to 1 at most, and do not depend on a sum over weights
        case Composed(combine=Mean() | Buffered() | MixedIn(), server=Sgd(server_learning_rate=rate), before=()):
            return 2.0 * BLOCK_ROWS * rate + 1.0
    return None


def gap_in_places(recorded: Vector, mine: Vector, terms: Iterable[Vector]) -> NDArray[np.float64]:
    """How far apart two results (p,) are, in last places of the largest of them and of what they were made from.

    Each of the `terms` is as long as they are, or shorter: then it has to do with the first weights alone.
    """
    largest = np.maximum(np.abs(recorded), np.abs(mine))
    for term in terms:
        part = largest[: term.size]
        np.maximum(part, np.abs(term), out=part)
    gap: NDArray[np.float64] = np.abs(recorded.astype(np.float64) - mine) / np.spacing(largest)
    return gap
