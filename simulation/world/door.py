"""Who may be invited when, on the virtual clock: waits for devices, and tries again, as the aggregator does it."""

from collections.abc import Callable
from typing import NamedTuple

from aggregator.patience import Patience
from aggregator.round import fewest_updates
from fedloom.errors import FedloomError
from fedloom.job.rounds import Rounds
from fedloom.wire.messages import Phase
from simulation.world.absence import Absence
from simulation.world.draws import Ids, Mask
from simulation.world.world import World

MAX_ATTEMPTS = 1000
"""Of one round, before the simulation is given up."""


class FruitlessError(FedloomError):
    """A simulated round that is tried again and again, and never gets enough updates."""


class Chosen(NamedTuple):
    """A cohort."""

    ids: Ids
    """(c,) whom the round invites, in order."""
    evaluates: Mask
    """(c,) who of them evaluates."""
    target: int
    """Updates that are aimed at."""


Choose = Callable[[Ids, int, int], Chosen]
"""(ready, round, attempt) → the cohort, as `aggregator.cohort.choose` has it."""
Refuse = Callable[[Ids, int], Mask]
"""(ids, round) → (c,) whose updates of this round will not be admitted."""


class Door:
    """Opens attempts."""

    def __init__(self, rounds: Rounds, world: World) -> None:
        self.time_s = 0.0
        """On the virtual clock: when the last attempt was closed."""
        self._rounds = rounds
        self._world = world
        self._absence = Absence()
        self._patience = Patience(rounds.deadline_s)
        self._fewest = fewest_updates(Phase.TRAIN, rounds)
        self._needed = rounds.devices
        self._round = self._attempt = 0
        self._failed = 0
        """Attempts in a row."""

    def open(self, number: int) -> tuple[Ids, int]:
        """Wait until enough devices are there for a round; returns whom it may invite, and which attempt at it this is.

        Raises:
            StandstillError: there never are.
        """
        self.time_s, ready = self._world.gathered(self._needed, max(self.time_s, self._patience.until_s))
        self._needed = self._fewest
        self._attempt = self._attempt + 1 if number == self._round else 1
        self._round = number
        return self._absence.open(ready, self._fewest), self._attempt

    def close(self, closed_s: float, spoke: Ids, silent: Ids, *, is_done: bool) -> None:
        """An attempt is over.

        Raises:
            FruitlessError: too many have.
        """
        self.time_s = closed_s
        self._absence.spoke(spoke)
        self._failed = 0 if is_done else self._failed + 1
        if is_done:
            return
        if self._failed >= MAX_ATTEMPTS:
            problem = f"{self._failed} attempts in a row failed, the last one with {len(silent)} devices silent"
            raise FruitlessError(f"{problem}; raise rounds.deadline_s, or lower rounds.quorum or rounds.min_updates")
        self._absence.missed(silent)
        self._patience.failed(self._failed, "", closed_s)
        if not self._world.is_always_there:
            self._patience.devices_changed(closed_s)
