"""A coordinator whose rounds an app asks for. Events in, actions out; no clock.

All that holds for rounds of training holds here: nothing is announced before it is durable, no receipt is sent before
its reply is on disk, and of each device one reply counts.
"""

from aggregator.cohorts.memory import Memory
from aggregator.coordinator import Coordinator
from aggregator.events import (
    Action,
    Asked,
    Ended,
    FleetChanged,
    FusionResult,
    JobEvent,
    Now,
    Settle,
    Turn,
    WakeAt,
    Withdrawn,
)
from aggregator.exchange.errands import Errands
from aggregator.notices import RoundClosed
from aggregator.progress import Progress, Setup
from aggregator.records import Outcome, Snapshot
from aggregator.round import RoundState
from aggregator.stages import Stage


class Courier(Coordinator):
    """One app's run."""

    _progress: Errands

    def _make_progress(self, setup: Setup, snapshot: Snapshot, memory: Memory) -> Progress:
        return Errands(setup, snapshot, self._writer, memory, self._fleet)

    def handle(self, event: JobEvent, now: Now) -> list[Action]:
        """Take an event; the actions are to be carried out in their order."""
        match event:
            case Asked(letters):
                self._progress.take(letters)
                return [*self._settle(), *self._close_if_due(now), *self._open_if_possible(now)]
            case Withdrawn(ids):
                self._progress.withdraw(ids)
                return [*self._settle(), *self._close_if_due(now)]
            case FleetChanged(records):
                self._progress.drop({each.id for each in records if each.revoked})
                return [*self._settle(), *super().handle(event, now), *self._close_if_due(now)]
            case Ended():
                self._progress.end()
                return [*self._close_if_due(now), *self._open_if_possible(now)]
        return super().handle(event, now)

    def _close_if_due(self, now: Now) -> list[Action]:
        if self.stage is Stage.COLLECTING and self._intake is not None and self._is_over(self._intake.state):
            self._intake.state.deadline_s = now.monotonic_s
        return super()._close_if_due(now)

    def _is_over(self, state: RoundState) -> bool:
        """Whether nobody waits any more, or only for who cannot answer any more."""
        return self._progress.is_unwanted or self._progress.is_hopeless(state.silent)

    def _turn(self, outcome: Outcome, reason: str, result: FusionResult | None, now: Now) -> list[Action]:
        if self._intake is not None:
            self._progress.collect(self._intake, result, reason)
        return super()._turn(outcome, reason, result, now)

    def _commit(self, turn: Turn, notice: RoundClosed | None, now: Now) -> list[Action]:
        return super()._commit(turn._replace(entry=self._progress.entry()), notice, now)

    def _begin(self, now: Now) -> list[Action]:
        actions = super()._begin(now)
        return [*actions, WakeAt(self._deadline_s)] if self.stage is Stage.COLLECTING else actions

    def _turned(self, now: Now) -> list[Action]:
        return [*self._settle(), *super()._turned(now)]

    def _wait(self, now: Now) -> list[Action]:
        self.stage = Stage.WAITING
        return self._open_if_possible(now)

    def _open_if_possible(self, now: Now) -> list[Action]:
        """Letters come at any time: where they have to wait for sleepers, look again when those are due."""
        opening = super()._open_if_possible(now)
        if opening or self.stage is not Stage.WAITING or self._progress.is_idle:
            return opening
        until_s = self._pace.awaits(now.monotonic_s)
        return [] if until_s is None else [WakeAt(until_s)]

    def _settle(self) -> list[Action]:
        """The app may know: what its letters have brought is durable."""
        settled = self._progress.settled()
        return [Settle(settled)] if settled else []
