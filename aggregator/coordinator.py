"""Runs one job: opens rounds, collects, has them fused, goes on to the next. Events in, actions out; no clock.

    WAITING ──devices are ready──► TURNING ──durable──► COLLECTING ──enough──► FUSING ──► TURNING ──► … ──► DONE
       ▲                            │   ▲                   │
       └── durable, none is ready ──┘   └── too few in time ┘

Nothing is published before the `Turn` that it belongs to is durable, and no receipt before its answer is. So a process
that dies between any two actions leaves a store from which the next one carries on in the same round and attempt.

The one thing on disk that it touches itself is `Setup.incoming`: pieces of large updates, which nothing relies on.
"""

from collections.abc import Set

import msgspec

from aggregator import round_notices
from aggregator.announcer import Announcer
from aggregator.attendance import Attendance
from aggregator.cohorts.memory import Memory
from aggregator.events import (
    Acknowledge,
    Action,
    Begin,
    Finish,
    FleetChanged,
    Fuse,
    Fused,
    FusionResult,
    JobEvent,
    LinkDown,
    LinkUp,
    Now,
    Resubscribe,
    Stored,
    Tell,
    Tick,
    Turn,
    Turned,
    Unsent,
    WakeAt,
    Warn,
)
from aggregator.farewell import Farewell
from aggregator.fleet import Fleet
from aggregator.intake import Intake
from aggregator.notices import Ready, RoundClosed, Stalled, Started
from aggregator.own_manifest import own_manifest, signer_of
from aggregator.pace import Pace
from aggregator.patience import Patience
from aggregator.progress import Opened, Progress, Setup
from aggregator.reception import Reception
from aggregator.records import Answer, Invitation, Outcome, RoundRecord, Snapshot
from aggregator.stages import Stage, Turning
from aggregator.throttle import Throttle
from aggregator.writer import Writer
from fedloom.errors import Reason, Refused
from fedloom.link.base import Received, Sent
from fedloom.wire.messages import Phase

_TOLD = (Reason.OLD, Reason.BAD_CREDENTIAL)
"""Why a presence is refused, where a person can do something about it."""


class Coordinator:
    """One job from its first round to its final model."""

    def __init__(self, setup: Setup, fleet: Fleet, snapshot: Snapshot) -> None:
        self.stage = Stage.WAITING
        self._setup = setup
        self._fleet = fleet
        self._snapshot = snapshot
        hand = (setup.root, setup.aggregator, setup.signing, setup.entropy)
        self._writer = Writer(*hand, setup.max_update_bytes)
        memory = Memory(setup.rule, snapshot.standings)
        self._progress = self._make_progress(setup, snapshot, memory)
        self._announcer = Announcer(fleet, self._writer, snapshot.manifests, setup.documents, self._progress.counted)
        self._intake: Intake | None = None
        self._invitations: dict[bytes, Invitation] = {}
        self._turning = Turning(None, None, 0.0)
        self._began_s = self._deadline_s = 0.0
        self._attendance = Attendance(fleet, setup.job.rounds)
        self._patience = Patience(setup.job.rounds.deadline_s)
        self._throttle = Throttle(fleet)
        self._pace = Pace(fleet, setup.check_ins_per_s, setup.job)
        self._farewell = Farewell(fleet, self._pace, setup.job.rounds)
        parts = (self._throttle, self._attendance, self._pace)
        self._reception = Reception(setup, snapshot, fleet, self._writer, memory, *parts)
        self._dropped = 0
        """Messages since the last round was closed that were too many, or presence that was not believed."""

    def _make_progress(self, setup: Setup, snapshot: Snapshot, memory: Memory) -> Progress:
        return Progress(setup, snapshot, self._writer, memory)

    @property
    def newest_manifest(self) -> tuple[int, bytes]:
        """Version and hash of the newest manifest that this state knows."""
        return self._progress.newest_manifest

    def handle(self, event: JobEvent, now: Now) -> list[Action]:
        """Take an event; the actions are to be carried out in their order."""
        match event:
            case Received():
                return self._received(event, now)
            case Stored(answers):
                return [*(self._intake.stored(answers, now) if self._intake else []), *self._close_if_due(now)]
            case Fused(result, reason):
                return self._turn("aborted" if result is None else "done", reason, result, now)
            case Turned():
                return self._turned(now)
            case Tick():
                return [*self._say_again(now), *self._tick(now)]
            case FleetChanged(records):
                subscribing = [Resubscribe()] if self._fleet.update(records) else []
                self._fleet.refresh(now.utc_s)
                return [*subscribing, *self._open_if_possible(now)]
            case LinkUp() | LinkDown() | Sent() | Unsent():
                return self._on_link(event, now)
            case Begin():
                return self._begin(now)
            case _:
                return []  # of an app, see aggregator.exchange

    def _on_link(self, event: LinkUp | LinkDown | Sent | Unsent, now: Now) -> list[Action]:
        match event:
            case LinkUp(max_payload_bytes):
                self._throttle.link_up(max_payload_bytes)
                return self._link_up(now)
            case LinkDown():
                self._announcer.is_link_up = False
                return []
            case Sent(topic):
                return self._go_on(self._announcer.sent(topic), now)
            case Unsent(publishes):
                return self._announcer.unsent(publishes, now)

    def _begin(self, now: Now) -> list[Action]:
        newest, job = self._snapshot.newest, self._setup.job.name
        federation = self._setup.root.federation.hex()
        actions: list[Action] = [Tell(Started(federation, job, newest is not None))]
        if newest is None:
            return [*actions, self._ready_notice(now)]
        self._attendance.resume(now.monotonic_s)
        actions.append(WakeAt(now.monotonic_s + self._setup.job.rounds.deadline_s))
        if self._snapshot.outcome is not None and newest.phase is not Phase.DONE:
            return [*actions, self._ready_notice(now)]
        is_ours = signer_of(newest.manifest) == self._setup.signing.id
        if newest.phase is Phase.DONE and not (is_ours and newest.manifest_version == self._snapshot.last_version):
            # Our key was rotated: only who has seen this manifest believes it, and no other one would come. Or our
            # state was restored: who has seen a newer one does not accept it.
            return [*actions, *self._open_if_possible(now)]
        self._announcer.resume(newest, self._progress.broadcast)
        self._collect(newest, self._snapshot.answers, now)
        if newest.phase is Phase.DONE:
            return [*actions, Tell(round_notices.done(self._setup, self._progress, newest))]
        return [*actions, *self._close_if_due(now)]

    def _tick(self, now: Now) -> list[Action]:
        match self.stage:
            case Stage.COLLECTING:
                return self._close_if_due(now)
            case Stage.DONE:
                return self._finish(now)
            case _:
                return self._open_if_possible(now)

    def _link_up(self, now: Now) -> list[Action]:
        self._announcer.is_link_up = True
        roots = self._announcer.roots()
        if self.stage not in (Stage.COLLECTING, Stage.FUSING, Stage.DONE):
            return roots  # while turning, the new round will be announced when it is durable
        return [*roots, *self._announcer.repeat(), *self._tasks(), *self._linger(now)]

    def _go_on(self, announced: list[Action], now: Now) -> list[Action]:
        """More of a large model goes out; behind the last of the announcement, what was waiting for that."""
        if not announced or not self._announcer.is_said:
            return announced
        return [*announced, *self._tasks(), *self._linger(now)]

    def _say_again(self, now: Now) -> list[Action]:
        """What the link had no room for."""
        if not self._announcer.is_due(now):
            return []
        tasks = self._tasks(only=self._announcer.unheard())
        return [*tasks, *self._go_on(self._announcer.go_on(), now)]

    def _received(self, received: Received, now: Now) -> list[Action]:
        if not self._throttle.admits(received.topic, now.monotonic_s, received.payload):
            self._dropped += 1
            return [Acknowledge(received), *self._throttle.blame(received.topic)]  # anybody may have sent it
        if received.topic.endswith("/state"):
            return [Acknowledge(received), *self._presence(received, now)]
        if self._intake is None:
            return [Acknowledge(received)]
        return [*self._intake.arrived(received, now), *self._close_if_due(now)]

    def _presence(self, received: Received, now: Now) -> list[Action]:
        try:
            news = self._fleet.hear(received.topic, received.payload, now.utc_s)
        except Refused as refusal:
            self._dropped += 1
            return [Warn(refusal.detail)] if refusal.reason in _TOLD and refusal.detail else []
        if news is None:
            return []
        self._attendance.spoke(news.device)
        if self.stage is Stage.WAITING:
            return [self._ready_notice(now), *self._open_sooner(news.is_change, now)]
        return self._tasks(only={news.device}) if news.is_ready else self._finish(now)

    def _tasks(self, only: Set[bytes] | None = None) -> list[Action]:
        """Invite (again) the devices that are ready and have not answered; when DONE, all that are ready."""
        if self._intake is None or self.stage not in (Stage.COLLECTING, Stage.DONE):
            return []
        ready = self._fleet.ready if only is None else self._fleet.ready & only
        if self.stage is Stage.DONE:
            wanted = [Invitation(each, train=False, evaluate=False) for each in sorted(ready)]
        else:
            version = self._intake.opened.manifest_version
            answered = {device for device, base in self._intake.pending if base == version}
            silent = (self._intake.state.silent & ready) - answered
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
            self._attendance.missed(self._intake.state.silent)
            return self._turn("aborted", self._intake.state.reason(), None, now)
        self.stage = Stage.FUSING
        model = self._progress.model
        weights = model.weights if model and self._intake.opened.phase is Phase.TRAIN else None
        standardiser = model.standardiser if model else None
        return [Fuse(self._intake.opened, weights, self._progress.strategy_state, standardiser)]

    def _turn(self, outcome: Outcome, reason: str, result: FusionResult | None, now: Now) -> list[Action]:
        """Close the round that was collected, and open the next in the same stroke."""
        if self._intake is None:
            return []
        record = self._intake.opened
        answers = self._intake.state.answers.values()
        closed, model = self._progress.conclude(record, outcome, reason, result, answers)
        self._patience.failed(self._progress.aborted_in_row, reason, now.monotonic_s)
        self._pace.closed(now.monotonic_s)
        notice = round_notices.closed(self._intake, outcome, reason, result, self._dropped)
        self._dropped = -self._intake.refusals.total()  # told now; what it refuses until it goes is told with the next
        opened = self._open_next(now) if self._can_open(now) else Opened()
        return self._commit(Turn(closed, model, opened.record, opened.standings), notice, now)

    def _open_if_possible(self, now: Now) -> list[Action]:
        if self.stage is not Stage.WAITING or not self._can_open(now):
            return []
        opened = self._open_next(now)
        return self._commit(Turn(None, opened.model, opened.record, opened.standings), None, now)

    def _open_sooner(self, is_change: bool, now: Now) -> list[Action]:
        """A device has spoken; a stalled job tries again before its time only where that changes who is ready."""
        if is_change:
            self._patience.devices_changed(now.monotonic_s)
        if opening := self._open_if_possible(now):
            return opening
        return [WakeAt(self._patience.until_s)] if is_change and now.monotonic_s < self._patience.until_s else []

    def _open_next(self, now: Now) -> Opened:
        return self._progress.open_next(self._attendance.open(self._progress.next.phase), now.utc_s)

    def _can_open(self, now: Now) -> bool:
        if self._progress.next.phase is Phase.DONE:
            return True
        is_enough = (
            not self._progress.is_idle
            and len(self._fleet.ready) >= self._needed(now)
            and now.monotonic_s >= self._patience.until_s
        )
        return is_enough and self._pace.awaits(now.monotonic_s) is None

    def _needed(self, now: Now) -> int:
        """Devices that must be ready for the next round."""
        return self._attendance.needed(self._progress.next.phase, now.monotonic_s)

    def _commit(self, turn: Turn, notice: RoundClosed | None, now: Now) -> list[Action]:
        self.stage = Stage.TURNING
        self._turning = Turning(notice, turn.opened, now.monotonic_s)
        return [turn]

    def _turned(self, now: Now) -> list[Action]:
        actions: list[Action] = []
        closed, opened, began_s = self._turning
        if closed:
            actions.append(Tell(msgspec.structs.replace(closed, seconds=now.monotonic_s - self._began_s)))
        if self._intake:
            self._reception.close(self._intake)
        if opened is None:
            return [*actions, *self._wait(now)]
        held = list(self._intake.held.values()) if self._intake else []
        self._collect(opened, (), now)
        self._began_s = began_s
        actions += self._announcer.announce(opened, self._progress.broadcast)
        actions += self._tasks()
        if opened.phase is Phase.DONE:
            return [*actions, Tell(round_notices.done(self._setup, self._progress, opened)), *self._linger(now)]
        actions.append(Tell(round_notices.opened(opened)))
        for each in held:
            actions += self._intake.take(each.blob, each.received, now) if self._intake else []
        return [*actions, WakeAt(self._deadline_s), *self._close_if_due(now)]

    def _wait(self, now: Now) -> list[Action]:
        """The round is closed, and the next cannot be opened yet; perhaps it can by now."""
        self.stage = Stage.WAITING
        if opening := self._open_if_possible(now):
            return opening
        if now.monotonic_s < self._patience.until_s:
            return [Tell(Stalled(self._patience.reason)), WakeAt(self._patience.until_s)]
        if (until_s := self._pace.awaits(now.monotonic_s)) is not None:
            return [self._ready_notice(now), WakeAt(until_s)]
        return [Tell(Stalled(round_notices.too_few(len(self._fleet.ready), self._needed(now))))]

    def _collect(self, opened: RoundRecord, answers: tuple[Answer, ...], now: Now) -> None:
        """Take updates for a round that is durable, `answers` being there already."""
        self.stage = Stage.DONE if opened.phase is Phase.DONE else Stage.COLLECTING
        self._began_s = now.monotonic_s
        self._dropped += self._intake.refusals.total() if self._intake else 0
        self._invitations = {each.device: each for each in opened.invitations}
        self._deadline_s = now.monotonic_s + own_manifest(opened.manifest).deadline_s
        self._intake = self._reception.open(opened, self._progress.plan, answers, now.monotonic_s, self._deadline_s)

    def _linger(self, now: Now) -> list[Action]:
        """The final model was announced (again)."""
        if self.stage is not Stage.DONE:
            return []
        self._farewell.said(now.monotonic_s)
        return [WakeAt(self._farewell.leave_at_s), *self._finish(now)]

    def _finish(self, now: Now) -> list[Action]:
        if self.stage is not Stage.DONE or not self._announcer.is_said:
            return []
        return [Finish()] if self._farewell.is_over(now.monotonic_s) else []

    def _ready_notice(self, now: Now) -> Tell:
        return Tell(Ready(len(self._fleet.ready), self._needed(now), len(self._fleet.sleeping)))
