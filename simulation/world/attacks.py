"""What dishonest devices may send. All of them know the honest updates of the round, which is the worst case.

Each attack turns what is `Seen` into what the attackers send, (f, p); `strength` is times what it says.
"""

from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from fedloom.learning.layout import Array, Vector
from fedloom.simulated_world import AttackKind
from strategies.base import Matrix


class Seen(NamedTuple):
    """What attackers know in a round."""

    honest: Matrix
    """(m, p) the updates of the others."""
    own: Matrix
    """(f, p) what they have trained themselves."""
    moved: Vector
    """(p,) what the last round has added to the model; zeros in the first."""


Attack = Callable[[Seen, float, np.random.Generator], Matrix]


def nothing(seen: Seen, strength: float, rng: np.random.Generator) -> Matrix:
    """What they have trained."""
    return seen.own


def sign_flip(seen: Seen, strength: float, rng: np.random.Generator) -> Matrix:
    """The wrong way, so many times as far."""
    return np.float32(-strength) * seen.own


def noise(seen: Seen, strength: float, rng: np.random.Generator) -> Matrix:
    """Each weight from a normal distribution of this deviation; with 1 tens of times as long as an honest update."""
    return np.float32(strength) * rng.standard_normal(seen.own.shape, np.float32)


def alie(seen: Seen, strength: float, rng: np.random.Generator) -> Matrix:
    """A little is enough: μ − z·σ of the honest updates, with the largest z at which enough honest ones are farther.

    Source: Baruch, Baruch, Goldberg 2019, arXiv:1902.06156, algorithm 3.
    """
    attackers, count = len(seen.own), len(seen.own) + len(seen.honest)
    supporters = count // 2 + 1 - attackers
    share = (count - attackers - supporters) / (count - attackers)
    z = NormalDist().inv_cdf(min(max(share, 1e-3), 1.0 - 1e-3))
    return np.tile(seen.honest.mean(axis=0) - np.float32(z) * seen.honest.std(axis=0), (attackers, 1))


def inner_product(seen: Seen, strength: float, rng: np.random.Generator) -> Matrix:
    """Inner product manipulation: −ε·μ of the honest updates, ε being the strength.

    Source: Xie, Koyejo, Gupta 2019, arXiv:1903.03936, section 4.
    """
    return np.tile(np.float32(-strength) * seen.honest.mean(axis=0), (len(seen.own), 1))


def free_rider(seen: Seen, strength: float, rng: np.random.Generator) -> Matrix:
    """Nothing has changed."""
    return np.zeros_like(seen.own)


def replay(seen: Seen, strength: float, rng: np.random.Generator) -> Matrix:
    """The difference of the last two models, which costs no training either and looks like an update.

    Source: Lin, Du, Liu 2019, "Free-riders in federated learning: attacks and defenses", arXiv:1911.12560 (delta
    weights).
    """
    return np.tile(np.float32(strength) * seen.moved, (len(seen.own), 1))


def not_a_number(seen: Seen, strength: float, rng: np.random.Generator) -> Matrix:
    """What a device with a fault sends, and what no admission lets through."""
    return np.full_like(seen.own, np.nan)


ATTACKS: dict[AttackKind, Attack] = {
    "none": nothing,
    "sign_flip": sign_flip,
    "noise": noise,
    "label_flip": nothing,  # it is made before the training: see `flipped`
    "alie": alie,
    "inner_product": inner_product,
    "free_rider": free_rider,
    "replay": replay,
    "nan": not_a_number,
}


def flipped(targets: Array, is_regression: bool) -> Array:
    """(n, k) what label flipping makes of encoded targets: class c is called k − 1 − c, of two the other; −y for y."""
    if is_regression:
        return -targets
    return np.ascontiguousarray(targets[:, ::-1]) if targets.shape[1] > 1 else 1.0 - targets
