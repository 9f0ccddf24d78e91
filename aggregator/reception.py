"""Opens the intake of each round, with what outlives a round: older rounds' keys and answers. No clock."""

from aggregator.admission import Gate
from aggregator.assembler import Assembler
from aggregator.attendance import Attendance
from aggregator.bases import Past
from aggregator.cohorts.memory import Memory
from aggregator.fleet import Fleet
from aggregator.intake import Intake
from aggregator.pace import Pace
from aggregator.progress import Setup
from aggregator.records import Answer, RoundRecord, Snapshot
from aggregator.round import RoundState
from aggregator.throttle import Throttle
from aggregator.writer import Writer
from fedloom.learning.plan import TrainPlan


class Reception:
    """One job's intakes, one after the other."""

    def __init__(
        self,
        setup: Setup,
        snapshot: Snapshot,
        fleet: Fleet,
        writer: Writer,
        memory: Memory,
        throttle: Throttle,
        attendance: Attendance,
        pace: Pace,
    ) -> None:
        self._setup = setup
        self._is_restored = snapshot.is_restored
        self._past = Past(setup.job, setup.root.suite, snapshot)
        self._fleet = fleet
        self._writer = writer
        self._memory = memory
        self._resumed = snapshot.newest.manifest_version if snapshot.newest else 0
        self._throttle = throttle
        self._attendance = attendance
        self._pace = pace

    def open(
        self, opened: RoundRecord, plan: TrainPlan, answers: tuple[Answer, ...], now_s: float, deadline_s: float
    ) -> Intake:
        """For a round that is durable, in which the devices follow `plan`, `answers` being there already.

        Raises:
            StoreError: the directory of large updates cannot be used.
        """
        setup = self._setup
        bases, earlier = self._past.forget(opened)
        gate = Gate(
            self._fleet,
            setup.root,
            setup.job,
            opened,
            setup.max_update_bytes,
            bases,
            plan=plan,
            is_restored=self._is_restored,
            opened_s=now_s if opened.manifest_version > self._resumed else None,
            counts_classes=setup.rule.counts_classes,
        )
        state = RoundState(
            opened.phase,
            [each.device for each in opened.invitations],
            opened.target,
            setup.job.rounds,
            deadline_s,
            version=opened.manifest_version,
            is_buffer=gate.is_buffer,
        )
        for answer in answers:
            state.record(answer)
        self._throttle.open_round(gate.max_bytes)
        self._pace.opened(opened.phase, len(opened.invitations), now_s)
        assembler = self._assembler(opened, gate)
        parts = (self._throttle, self._attendance, self._pace, self._memory)
        return Intake(gate, state, earlier, self._writer, assembler, *parts)

    def close(self, intake: Intake) -> None:
        """The end of its round is durable."""
        intake.is_over = True
        self._past.keep(intake.bases, intake.state.answers.values())

    def _assembler(self, opened: RoundRecord, gate: Gate) -> Assembler:
        incoming = self._setup.incoming
        if incoming:  # transfers of a buffer go on in the next one
            incoming.open(opened.job.hex() if gate.is_buffer else str(opened.manifest_version))
        most = max(1, self._setup.max_transfer_bytes // gate.max_bytes)
        return Assembler(gate.max_bytes, most, shelf=incoming)
