"""Runs one job: opens rounds, collects, has them fused, goes on to the next. Events in, actions out; no I/O, no clock.

    WAITING ──devices are ready──► TURNING ──durable──► COLLECTING ──enough──► FUSING ──► TURNING ──► … ──► DONE
       ▲                            │   ▲                   │
       └── durable, none is ready ──┘   └── too few in time ┘

Nothing is published before the `Turn` that it belongs to is durable, and no receipt before its answer is. So a process
that dies between any two actions leaves a store from which the next one carries on in the same round and attempt.
"""

from enum import Enum
from typing import NamedTuple

import msgspec

from aggregator.admission import Gate
from aggregator.announcer import Announcer
from aggregator.events import (
    Acknowledge,
    Action,
    Begin,
    Event,
    Finish,
    FleetChanged,
    Fuse,
    Fused,
    FusionResult,
    LinkDown,
    LinkUp,
    Now,
    Resubscribe,
    Stored,
    Tell,
    Tick,
    Turn,
    Turned,
    WakeAt,
)
from aggregator.fleet import Fleet
from aggregator.intake import Intake, by_digest
from aggregator.notices import Done, Ready, RoundClosed, RoundOpened, Stalled, Started
from aggregator.progress import Progress, Setup
from aggregator.records import Answer, Invitation, Outcome, RoundRecord, Snapshot
from aggregator.round import RoundState
from aggregator.writer import Writer
from fedloom.errors import Refused
from fedloom.link.base import Received
from fedloom.wire.chunks import Assembler
from fedloom.wire.messages import Phase, Verdict

ABORTS_BEFORE_STALL = 5
"""Attempts of one round in a row; then the job waits for a change among the devices, or for a deadline's time."""


class Stage(Enum):
    """What the coordinator is waiting for."""

    WAITING = "devices"
    TURNING = "the store"
    COLLECTING = "updates"
    FUSING = "the fusion"
    DONE = "nothing"


class _Turning(NamedTuple):
    """What to say when a turn is durable."""

    closed: RoundClosed | None
    opened: RoundRecord | None
    began_s: float


class Coordinator:
    """One job from its first round to its final model."""

    def __init__(self, setup: Setup, fleet: Fleet, snapshot: Snapshot) -> None:
        self.stage = Stage.WAITING
        self._setup = setup
        self._fleet = fleet
        self._snapshot = snapshot
        self._writer = Writer(setup.root, setup.aggregator, setup.signing, setup.entropy)
        self._progress = Progress(setup, snapshot, self._writer)
        self._announcer = Announcer(fleet, self._writer, snapshot.manifests)
        self._intake: Intake | None = None
        self._invitations: dict[bytes, Invitation] = {}
        self._turning = _Turning(None, None, 0.0)
        self._began_s = 0.0
        self._stalled_until_s = 0.0
        self._stall_reason = ""

    def handle(self, event: Event, now: Now) -> list[Action]:
        """Take an event; the actions are to be carried out in their order."""
        match event:
            case Received():
                return self._received(event, now)
            case Stored(answers):
                return [*(self._intake.stored(answers) if self._intake else []), *self._close_if_due(now)]
            case Fused(result, reason):
                return self._turn("aborted" if result is None else "done", reason, result, now)
            case Turned():
                return self._turned(now)
            case Tick():
                return self._close_if_due(now) if self.stage is Stage.COLLECTING else self._open_if_possible(now)
            case FleetChanged(records):
                return [Resubscribe()] if self._fleet.update(records) else []
            case LinkUp():
                return self._link_up()
            case LinkDown():
                self._announcer.is_link_up = False
                return []
            case Begin():
                return self._begin(now)

    def _begin(self, now: Now) -> list[Action]:
        newest, job = self._snapshot.newest, self._setup.job.name
        federation = self._setup.root.federation.hex()
        actions: list[Action] = [Tell(Started(federation, job, newest is not None))]
        if newest is None or (self._snapshot.outcome is not None and newest.phase is not Phase.DONE):
            return [*actions, self._ready_notice()]
        self._announcer.resume(newest, self._progress.broadcast)
        self._collect(newest, self._snapshot.answers, self._snapshot.earlier, now)
        if newest.phase is Phase.DONE:
            return [*actions, Tell(self._done_notice(newest))]
        return [*actions, WakeAt(now.monotonic_s + self._setup.job.rounds.deadline_s), *self._close_if_due(now)]

    def _link_up(self) -> list[Action]:
        self._announcer.is_link_up = True
        if self.stage not in (Stage.COLLECTING, Stage.FUSING, Stage.DONE):
            return []  # while turning, the new round will be announced when it is durable
        return [*self._announcer.repeat(), *self._tasks(), *self._finish()]

    def _received(self, received: Received, now: Now) -> list[Action]:
        if received.topic.endswith("/state"):
            return [Acknowledge(received), *self._presence(received, now)]
        if self._intake is None:
            return [Acknowledge(received)]
        return [*self._intake.arrived(received, now.utc_s), *self._close_if_due(now)]

    def _presence(self, received: Received, now: Now) -> list[Action]:
        try:
            heard = self._fleet.hear(received.topic, received.payload)
        except Refused:
            return []
        if heard is None:
            return []
        device, is_ready = heard
        if self.stage is Stage.WAITING:
            self._stalled_until_s = 0.0
            return [self._ready_notice(), *self._open_if_possible(now)]
        return self._tasks(only=device) if is_ready else []

    def _tasks(self, only: bytes | None = None) -> list[Action]:
        """Invite (again) the devices that are ready and have not answered; when DONE, all that are ready."""
        if self._intake is None or self.stage not in (Stage.COLLECTING, Stage.DONE):
            return []
        ready = self._fleet.ready if only is None else self._fleet.ready & {only}
        if self.stage is Stage.DONE:
            wanted = [Invitation(each, train=False, evaluate=False) for each in sorted(ready)]
        else:
            silent = (self._intake.state.silent & ready) - self._intake.pending.keys()
            wanted = [self._invitations[each] for each in sorted(silent)]
        return [action for each in wanted for action in self._announcer.task(each)]

    def _close_if_due(self, now: Now) -> list[Action]:
        """Close the round when it may; answers that are being stored belong to it, so they are waited for."""
        if self.stage is not Stage.COLLECTING or self._intake is None:
            return []
        outcome = self._intake.state.outcome(now.monotonic_s)
        if outcome is None:
            return []
        self._intake.is_open = False
        if self._intake.pending:
            return []
        if outcome == "aborted":
            return self._turn("aborted", self._intake.state.reason(), None, now)
        self.stage = Stage.FUSING
        model = self._progress.model
        weights = model.weights if model and self._intake.opened.phase is Phase.TRAIN else None
        return [Fuse(self._intake.opened, weights, self._progress.strategy_state)]

    def _turn(self, outcome: Outcome, reason: str, result: FusionResult | None, now: Now) -> list[Action]:
        """Close the round that was collected, and open the next in the same stroke."""
        if self._intake is None:
            return []
        record = self._intake.opened
        closed, model = self._progress.conclude(record, outcome, reason, result)
        if self._progress.aborted_in_row >= ABORTS_BEFORE_STALL:
            self._stalled_until_s = now.monotonic_s + self._setup.job.rounds.deadline_s
            self._stall_reason = f"{self._progress.aborted_in_row} attempts failed; the last one: {reason}"
        notice = self._closed_notice(self._intake, outcome, reason, result)
        opened = self._progress.open_next(self._fleet.ready) if self._can_open(now) else None
        return self._commit(
            Turn(closed, model, opened.record if opened else None), _Turning(notice, None, now.monotonic_s)
        )

    def _open_if_possible(self, now: Now) -> list[Action]:
        if self.stage is not Stage.WAITING or not self._can_open(now):
            return []
        opened = self._progress.open_next(self._fleet.ready)
        return self._commit(Turn(None, opened.model, opened.record), _Turning(None, None, now.monotonic_s))

    def _can_open(self, now: Now) -> bool:
        if self._progress.next.phase is Phase.DONE:
            return True
        return len(self._fleet.ready) >= self._needed() and now.monotonic_s >= self._stalled_until_s

    def _needed(self) -> int:
        return 1 if self._progress.has_begun else self._setup.job.rounds.devices

    def _commit(self, turn: Turn, turning: _Turning) -> list[Action]:
        self.stage = Stage.TURNING
        self._turning = turning._replace(opened=turn.opened)
        return [turn]

    def _turned(self, now: Now) -> list[Action]:
        actions: list[Action] = []
        closed, opened, began_s = self._turning
        if closed:
            actions.append(Tell(msgspec.structs.replace(closed, seconds=now.monotonic_s - self._began_s)))
        if opened is None:
            return [*actions, *self._wait(now)]
        earlier = tuple(self._intake.state.answers.values()) if self._intake else ()
        self._collect(opened, (), earlier, now)
        self._began_s = began_s
        actions += self._announcer.announce(opened, self._progress.broadcast)
        actions += self._tasks()
        if opened.phase is Phase.DONE:
            return [*actions, Tell(self._done_notice(opened)), *self._finish()]
        invited = len(opened.invitations)
        actions.append(Tell(RoundOpened(opened.round, opened.attempt, opened.phase, invited, opened.target)))
        return [*actions, WakeAt(now.monotonic_s + self._setup.job.rounds.deadline_s)]

    def _wait(self, now: Now) -> list[Action]:
        """The round is closed, and the next cannot be opened yet; perhaps it can by now."""
        self.stage = Stage.WAITING
        if opening := self._open_if_possible(now):
            return opening
        if now.monotonic_s < self._stalled_until_s:
            return [Tell(Stalled(self._stall_reason)), WakeAt(self._stalled_until_s)]
        return [Tell(Stalled("no device is ready"))]

    def _collect(self, opened: RoundRecord, answers: tuple[Answer, ...], earlier: tuple[Answer, ...], now: Now) -> None:
        """Take updates for a round that is durable, `answers` being there already."""
        setup = self._setup
        self.stage = Stage.DONE if opened.phase is Phase.DONE else Stage.COLLECTING
        self._began_s = now.monotonic_s
        deadline_s = now.monotonic_s + setup.job.rounds.deadline_s
        self._invitations = {each.device: each for each in opened.invitations}
        state = RoundState(opened.phase, self._invitations, opened.target, setup.job.rounds.quorum, deadline_s)
        for answer in answers:
            state.record(answer)
        gate = Gate(self._fleet, setup.root, setup.job, opened, setup.max_update_bytes)
        assembler = Assembler(gate.max_bytes, max(1, setup.max_transfer_bytes // gate.max_bytes))
        self._intake = Intake(gate, state, by_digest(earlier), self._writer, assembler)

    def _finish(self) -> list[Action]:
        return [Finish()] if self.stage is Stage.DONE and self._announcer.is_link_up else []

    def _ready_notice(self) -> Tell:
        return Tell(Ready(len(self._fleet.ready), self._needed()))

    def _closed_notice(self, intake: Intake, outcome: Outcome, reason: str, result: FusionResult | None) -> RoundClosed:
        state, opened = intake.state, intake.opened
        accepted = [each for _, each in sorted(state.answers.items()) if each.verdict is Verdict.ACCEPTED]
        samples = sum(each.samples for each in accepted)
        is_trained = opened.phase is Phase.TRAIN and samples > 0
        return RoundClosed(
            round=opened.round,
            attempt=opened.attempt,
            phase=opened.phase,
            outcome=outcome,
            reason=reason,
            accepted=state.accepted,
            declined=state.declined,
            rejected=len(state.rejected),
            seconds=0.0,
            metrics=result.metrics if result else {},
            train_loss=sum(each.train_loss for each in accepted) / samples if is_trained else None,
            bytes=sum(each.size_bytes for each in state.answers.values()),
            dropped=intake.refusals.total(),
        )

    def _done_notice(self, opened: RoundRecord) -> Done:
        model = self._setup.model_path(opened.model_version or 0)
        figures = self._progress.history[-1] if self._progress.history and self._setup.job.rounds.evaluate else {}
        return Done(self._setup.job.name, max(0, opened.round - 1), model, figures)
