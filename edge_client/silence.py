"""Notices a freeze: a round is open, its time is over, and the aggregator has said nothing new.

A broker that repeats the last words for ever cannot be told from an aggregator that died; both are for people to see.
"""

import logging

from edge_client.events import Action, Heard, Log, Silent
from fedloom.rarely import is_told

GRACE_S = 60.0
"""What an aggregator may take over a round's deadline."""


class Silence:
    """Counts the times that an open round's deadline has passed without a word."""

    def __init__(self) -> None:
        self.due_at_s: float | None = None
        self._period_s = 0.0
        self._since_s = 0.0
        self._count = 0
        self._is_noted = True
        """An earlier process may have left its note."""

    def opened(self, deadline_s: float | None, now_s: float) -> None:
        """A round is open for so long; None: none is."""
        self._since_s, self._count = now_s, 0
        self._period_s = max(0.0, deadline_s or 0.0) + GRACE_S
        self.due_at_s = None if deadline_s is None else now_s + self._period_s

    def heard(self, now_s: float) -> list[Action]:
        """Something came that only an aggregator at work can have said, and not before."""
        self._since_s, self._count = now_s, 0
        if self.due_at_s is not None:
            self.due_at_s = now_s + self._period_s
        if not self._is_noted:
            return []
        self._is_noted = False
        return [Heard()]

    def was_busy(self, now_s: float) -> None:
        """This device has not listened until now: what came meanwhile waits to be read."""
        if self.due_at_s is not None:
            self.due_at_s = max(self.due_at_s, now_s + GRACE_S)

    def tick(self, now_s: float) -> list[Action]:
        """Say so the 1st, 2nd, 4th, 8th … time."""
        if self.due_at_s is None or now_s < self.due_at_s:
            return []
        self._count += 1
        self.due_at_s = now_s + self._period_s
        if not is_told(self._count):
            return []
        silent_s = now_s - self._since_s
        notice = Log(logging.WARNING, "aggregator.silent seconds=%.0f count=%d", (silent_s, self._count))
        if self._count > 1:
            return [notice]
        self._is_noted = True
        return [notice, Silent(silent_s)]
