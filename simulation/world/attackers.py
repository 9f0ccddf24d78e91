"""Who of the simulated devices lies, and what they make up.

They attack with what they train from the model of round `start` on. What was begun before is honest, also where it
comes later, as it may in an asynchronous job: with wrong labels it must have been trained, and all kinds begin alike.
"""

import numpy as np

from fedloom.learning.layout import Vector
from fedloom.simulated import Simulation
from fedloom.simulated_world import Attack
from simulation.world.attacks import ATTACKS, Seen
from simulation.world.draws import Draws, Ids, Mask, Stream
from strategies.base import Matrix

_TAG = 0x61747461636B
"""Sets the attackers' random numbers apart from others of the same seed."""
_NEEDS_HONEST = ("alie", "inner_product")
"""What is made of the honest updates, and is nothing without any."""


class Attackers:
    """The devices that lie: `share` of all, whichever take part in a round."""

    def __init__(self, attack: Attack, clients: int, seed: int) -> None:
        self.attack = attack
        self._clients = clients
        self._seed = seed
        self._count = round(attack.share * clients) if attack.kind != "none" else 0

    @property
    def flip_labels(self) -> bool:
        """Whether they train with the wrong labels."""
        return self.attack.kind == "label_flip"

    def among(self, ids: Ids, bases: int | Ids) -> Mask:
        """(c,) who attacks, of those that train from the models of rounds `bases`: one, or one for each."""
        is_time: Mask = np.broadcast_to(np.asarray(bases) >= self.attack.start, len(ids))
        if not self._count or not is_time.any():
            return np.zeros(len(ids), np.bool_)
        result: Mask = is_time & (Draws(self._seed).place(Stream.ATTACKERS, ids, self._clients) < self._count)
        return result

    def forging(self, ids: Ids, bases: int | Ids) -> Mask:
        """(c,) who of them sends something else than what it has trained."""
        return self.among(ids, bases) & (not self.flip_labels)

    def refused(self, ids: Ids, round_number: int) -> Mask:
        """(c,) whose updates from this round's model will not be admitted, as anybody can tell beforehand."""
        return self.among(ids, round_number) & (self.attack.kind == "nan")

    def forge(self, deltas: Matrix, is_attacker: Mask, moved: Vector, round_number: int) -> Matrix:
        """(f, p) what the attackers among a round's devices send in the place of their rows of `deltas` (c, p).

        `moved` (p,) is what the last round has added to the model.
        """
        seen = Seen(deltas[~is_attacker], deltas[is_attacker], moved)
        if self.attack.kind in _NEEDS_HONEST and not len(seen.honest):
            return seen.own
        rng = np.random.default_rng((self._seed, _TAG, round_number))
        return ATTACKS[self.attack.kind](seen, self.attack.strength, rng)


def attackers_of(simulation: Simulation | None, clients: int, seed: int) -> Attackers:
    """Of a job; nobody, where it names none."""
    attack = simulation.attack if simulation else None
    return Attackers(attack or Attack("none"), clients, seed)
