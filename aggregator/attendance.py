"""Which of the ready devices are invited, and how many must be ready for that. No I/O; a restart forgets."""

from collections.abc import Iterable, Set

from aggregator.fleet import Fleet
from aggregator.round import fewest_updates
from fedloom.job import Rounds
from fedloom.wire.messages import Phase


class Attendance:
    """A device that is ready but lets an attempt fail by its silence is not asked again until it says something."""

    def __init__(self, fleet: Fleet, rounds: Rounds) -> None:
        self._fleet = fleet
        self._rounds = rounds
        self._silent: set[bytes] = set()
        self._gather_until_s = float("inf")

    def resume(self, now_s: float) -> None:
        """A run goes on in a new process, which does not know yet who is there."""
        self._gather_until_s = now_s + self._rounds.deadline_s

    def needed(self, phase: Phase, now_s: float) -> int:
        """Ready devices without which no round of `phase` is opened.

        All that the job asks for when it begins, and for a deadline's time when it goes on in a new process; then as
        many as must answer.
        """
        return self._rounds.devices if now_s < self._gather_until_s else fewest_updates(phase, self._rounds)

    def gathered(self) -> None:
        """Enough have been there; from now on the job goes on with whoever is."""
        self._gather_until_s = float("-inf")

    def missed(self, devices: Iterable[bytes]) -> None:
        """An attempt was aborted for want of these devices' answers."""
        self._silent.update(devices)

    def spoke(self, device: bytes) -> None:
        """A message of this device was believed."""
        self._silent.discard(device)

    def candidates(self, phase: Phase) -> Set[bytes]:
        """Whom the next round may invite: all that are ready where too few of them speak."""
        speaking = self._fleet.ready - self._silent
        return speaking if len(speaking) >= fewest_updates(phase, self._rounds) else self._fleet.ready
