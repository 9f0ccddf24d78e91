"""Who of the simulated devices lies, and what they send."""

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

    def among(self, ids: Ids, round_number: int) -> Mask:
        """(c,) who attacks in this round."""
        if not self._count or round_number < self.attack.start:
            return np.zeros(len(ids), np.bool_)
        result: Mask = Draws(self._seed).place(Stream.ATTACKERS, ids, self._clients) < self._count
        return result

    def refused(self, ids: Ids, round_number: int) -> Mask:
        """(c,) whose updates of this round will not be admitted, as anybody can tell beforehand."""
        return self.among(ids, round_number) & (self.attack.kind == "nan")

    def spoil(self, ids: Ids, deltas: Matrix, is_able: Mask, moved: Vector, round_number: int) -> None:
        """Put what the attackers send in the place of their rows of `deltas` (c, p): of those that send anything.

        No encoding is between: what arrives is what was forged.

        `moved` (p,) is what the last round has added to the model.
        """
        is_attacker = self.among(ids, round_number) & is_able
        if is_attacker.any() and self.attack.kind != "label_flip":
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused like anybody's
                deltas[is_attacker] = self.forge(deltas[is_able], is_attacker[is_able], moved, round_number)

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
