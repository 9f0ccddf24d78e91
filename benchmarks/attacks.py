"""What dishonest devices may send. All of them know the honest updates of the round, which is the worst case.

Each attack turns `honest` (m, p) and `own` (f, p), what the attackers would have sent, into what they send (f, p).
"""

from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from strategies.base import Matrix

Attack = Callable[[Matrix, Matrix, np.random.Generator], Matrix]
LABEL_FLIP = "label flip"
"""The one that is made before the training: class c is called 9 − c."""


def nothing(honest: Matrix, own: Matrix, rng: np.random.Generator) -> Matrix:
    """What they have trained."""
    return own


def sign_flip(honest: Matrix, own: Matrix, rng: np.random.Generator) -> Matrix:
    """The wrong way."""
    return -own


def sign_flip_10(honest: Matrix, own: Matrix, rng: np.random.Generator) -> Matrix:
    """Ten times as far the wrong way."""
    return -10.0 * own


def noise(honest: Matrix, own: Matrix, rng: np.random.Generator) -> Matrix:
    """Each weight from a standard normal distribution, tens of times as long as an honest update."""
    return rng.standard_normal(own.shape, np.float32)


def alie(honest: Matrix, own: Matrix, rng: np.random.Generator) -> Matrix:
    """A little is enough: μ − z·σ of the honest updates, with the largest z at which enough honest ones are farther.

    Source: Baruch, Baruch, Goldberg 2019, arXiv:1902.06156, algorithm 3.
    """
    attackers, count = len(own), len(own) + len(honest)
    supporters = count // 2 + 1 - attackers
    share = (count - attackers - supporters) / (count - attackers)
    z = NormalDist().inv_cdf(min(max(share, 1e-3), 1.0 - 1e-3))
    return np.tile(honest.mean(axis=0) - np.float32(z) * honest.std(axis=0), (attackers, 1))


def inner_product(epsilon: float) -> Attack:
    """Inner product manipulation: −ε·μ of the honest updates.

    Source: Xie, Koyejo, Gupta 2019, arXiv:1903.03936, section 4.
    """

    def attack(honest: Matrix, own: Matrix, rng: np.random.Generator) -> Matrix:
        return np.tile(np.float32(-epsilon) * honest.mean(axis=0), (len(own), 1))

    return attack


def free_rider(honest: Matrix, own: Matrix, rng: np.random.Generator) -> Matrix:
    """Nothing has changed."""
    return np.zeros_like(own)


ATTACKS: dict[str, Attack] = {
    "none": nothing,
    "sign flip": sign_flip,
    "×10": sign_flip_10,
    "noise": noise,
    LABEL_FLIP: nothing,
    "ALIE": alie,
    "IPM 0.5": inner_product(0.5),
    "IPM 10": inner_product(10.0),
    "free rider": free_rider,
}
