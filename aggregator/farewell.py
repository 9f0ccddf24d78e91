"""How long the aggregator stays once the job is done: until its devices have the model and go. No I/O, no clock."""

from aggregator.fleet import Fleet
from aggregator.pace import Pace
from fedloom.job.rounds import Rounds

MAX_LINGER_S = 30.0
"""How long, at most, devices that stay connected after the job, or were cut off from it, keep it waiting."""


class Farewell:
    """All times are on the monotonic clock, in seconds."""

    def __init__(self, fleet: Fleet, pace: Pace, rounds: Rounds) -> None:
        self.leave_at_s = float("inf")
        self._fleet = fleet
        self._pace = pace
        self._rounds = rounds
        self._lost_before: frozenset[bytes] = frozenset()

    def said(self, now_s: float) -> None:
        """The final model was announced (again): devices may take their time for it, but not for ever."""
        linger_s = min(MAX_LINGER_S, self._rounds.deadline_s)
        self.leave_at_s = max(now_s + linger_s, self._pace.last_due_s(now_s) or 0.0)
        self._lost_before = frozenset(self._fleet.lost)

    def is_over(self, now_s: float) -> bool:
        """Whether all are gone shows when as many were heard of as the job needs: a new process hears of them late.

        A device that was killed over its final model comes back for it, and would find nobody who has it.
        """
        fleet = self._fleet
        may_return = fleet.lost - self._lost_before
        are_gone = fleet.heard >= self._rounds.devices and not (fleet.ready or fleet.sleeping or may_return)
        return are_gone or now_s >= self.leave_at_s
