"""Which of the ready devices are invited, and how many must be ready for that. No I/O; a restart forgets."""

from collections.abc import Iterable, Set
from typing import TYPE_CHECKING, NamedTuple

from aggregator.round import fewest_updates
from fedloom.job.rounds import Rounds
from fedloom.wire.messages import Phase

if TYPE_CHECKING:  # a simulation, which shares what is below, would wait for its cryptography
    from aggregator.fleet import Fleet

MAX_ROUNDS_OUT = 64
"""Rounds that a device sits out at most, however often it was silent."""


class _Silence(NamedTuple):
    """A device whose silence has let an attempt fail."""

    rounds: int
    """That it sits out: doubled each time."""
    left: int


class Attendance:
    """A device that is ready but lets an attempt fail by its silence sits out 1, 2, 4 … rounds, or until it speaks.

    It may be there all the same, and only its answer was lost: a device that nobody asks has nothing to say.
    """

    def __init__(self, fleet: "Fleet", rounds: Rounds) -> None:
        self._fleet = fleet
        self._rounds = rounds
        self._silent: dict[bytes, _Silence] = {}
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

    def missed(self, devices: Iterable[bytes]) -> None:
        """An attempt was aborted for want of these devices' answers."""
        for device in devices:
            last = self._silent.get(device)
            rounds = min(2 * last.rounds, MAX_ROUNDS_OUT) if last else 1
            self._silent[device] = _Silence(rounds, rounds)

    def spoke(self, device: bytes) -> None:
        """A message of this device was believed."""
        self._silent.pop(device, None)

    def open(self, phase: Phase) -> Set[bytes]:
        """Whom the round that is opened now may invite: all that are ready where too few of them speak.

        Enough have been there; from now on the job goes on with whoever is.
        """
        self._gather_until_s = float("-inf")
        speaking = {each for each in self._fleet.ready if each not in self._silent or not self._silent[each].left}
        self._silent = {each: last._replace(left=max(0, last.left - 1)) for each, last in self._silent.items()}
        return speaking if len(speaking) >= fewest_updates(phase, self._rounds) else self._fleet.ready
