"""How far a job has come: model, strategy state, metrics so far, the chain of manifests, the next step. No I/O."""

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from aggregator import phases
from aggregator.bases import keys_from
from aggregator.cohort import Cohort, choose
from aggregator.cohorts.base import Rule
from aggregator.cohorts.memory import Memory
from aggregator.events import FusionResult
from aggregator.incoming import Incoming
from aggregator.opening import Broadcast, Opener, Place, broadcast, new_model_key
from aggregator.phases import Step
from aggregator.records import Answer, ClosedRound, CurrentModel, NewModel, Outcome, RoundRecord, Snapshot, Standing
from aggregator.rule import load_state
from aggregator.writer import Entropy, Writer
from fedloom.job import Job
from fedloom.learning.plan import TrainPlan
from fedloom.trust.documents import Root
from fedloom.trust.signing import SigningKey
from fedloom.wire.messages import Closed, Phase, Verdict
from fedloom.wire.model_blob import model_hash
from strategies import State, Strategy

_PHASE_NUMBERS = {Phase.STATISTICS: 0, Phase.TRAIN: 1, Phase.EVALUATE: 2, Phase.DONE: 3}


class Setup(NamedTuple):
    """What stays the same while a job runs."""

    job: Job
    root: Root
    documents: tuple[bytes, ...]
    """All root documents, from version 1 to that of `root`."""
    aggregator: bytes
    """Our id in the root document."""
    signing: SigningKey
    strategy: Strategy
    rule: Rule
    """Draws the cohorts."""
    initial: CurrentModel
    """What the run starts from; its version is set when it does."""
    entropy: Entropy
    max_update_bytes: int
    max_transfer_bytes: int
    check_ins_per_s: float
    incoming: Incoming | None
    """Where large updates lie until they are whole; None: in memory."""
    model_path: Callable[[int], str]
    """Where the file of a version is, for the operator."""
    request: bytes = b""
    """Of the exchange that the process before has left open."""


class Opened(NamedTuple):
    """A round that is ready to be made durable, the first model where it starts from that, and whom it asks."""

    record: RoundRecord | None = None
    model: NewModel | None = None
    standings: tuple[Standing, ...] = ()


class Progress:
    """The only place where a job's state changes; every change is made durable before anybody hears of it."""

    def __init__(self, setup: Setup, snapshot: Snapshot, writer: Writer, memory: Memory) -> None:
        self.model = snapshot.model
        self.broadcast: Broadcast | None = None
        self.history = list(snapshot.history)
        self.aborted_in_row = snapshot.aborted_in_row
        self.strategy_state = snapshot.strategy_state
        self.plan = setup.job.training
        """What the devices do in the newest round."""
        self.counted = dict(snapshot.counted)
        """SHA-256 of the envelope of each device's last update that is in a model, where the devices have variates."""
        self._setup = setup
        self._memory = memory
        self._chunk_bytes = setup.job.update.chunk_bytes
        self._job_id = snapshot.job
        self._first_version = snapshot.first_version
        self._last_version, self._last_hash = snapshot.last_version, snapshot.last_hash
        self._closes: Closed | None = snapshot.closes
        self._opener = Opener(setup.job, setup.root, writer, setup.entropy)
        self.next = phases.first(setup.job, setup.initial.standardiser is not None)
        if snapshot.newest:
            self._resume(snapshot.newest, snapshot.outcome)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing yet that the next round could be for."""
        return False

    @property
    def newest_manifest(self) -> tuple[int, bytes]:
        """Version and hash of the federation's newest manifest."""
        return self._last_version, self._last_hash

    def conclude(
        self,
        opened: RoundRecord,
        outcome: Outcome,
        reason: str,
        result: FusionResult | None,
        answers: Iterable[Answer],
    ) -> tuple[ClosedRound, NewModel | None]:
        """A round has ended; `result` is None where it was aborted. `answers` are all that it has."""
        self._closes = Closed(opened.round, opened.attempt, outcome)
        step = Step(opened.phase, opened.round, opened.attempt)
        if result is None:
            self.aborted_in_row += 1
            self.next = step.again()
            return ClosedRound(opened.manifest_version, "aborted", reason, {}, b"", self._keys_from(opened)), None
        self.aborted_in_row = 0
        if result.metrics:
            self.history = phases.remember([*self.history, result.metrics], self._setup.job.stopping)
        if opened.phase is Phase.TRAIN and self.plan.correction != "none":
            self.counted |= {each.device: each.digest for each in answers if each.verdict is Verdict.ACCEPTED}
        self.strategy_state = result.strategy_state
        self.next = phases.after(step, self._setup.job, self.history)
        figures, state = result.metrics, result.strategy_state
        closed = ClosedRound(opened.manifest_version, "done", reason, figures, state, self._keys_from(opened))
        return closed, self._new_model(opened, result)

    def open_next(self, ready: Collection[bytes], utc_s: float) -> Opened:
        """The round that comes next, for the devices that are ready."""
        step, new = self.next, None
        if self.model is None and step.phase is not Phase.STATISTICS:
            new = self._adopt(self._setup.initial._replace(version=self._first_version), 0, 0, 0)
        self.plan = self._plan_of(step)
        if self.model and (self.broadcast is None or self.broadcast.version != self.model.version):
            self.broadcast = self._sealed(self.model, step.phase, new_model_key(self._setup.entropy))
        place = Place(self._job_id, self._last_version, self._last_hash, self._closes)
        record = self._opener.open(step, place, self.plan, self._cohort(step, ready), self.broadcast, utc_s)
        self._last_version, self._last_hash = record.manifest_version, record.manifest_hash
        trained = [each.device for each in record.invitations if each.train]
        return Opened(record, new, self._memory.asked(trained, step.round))

    def _keys_from(self, closed: RoundRecord) -> int:
        return keys_from(self._setup.job, closed, self.next.phase)

    def _resume(self, newest: RoundRecord, outcome: Outcome | None) -> None:
        if self.model and newest.model_key and newest.model_version == self.model.version:
            self.broadcast = self._sealed(self.model, newest.phase, newest.model_key)
        if outcome is None:
            self.plan = self._plan_of(newest)
            return
        step = Step(newest.phase, newest.round, newest.attempt)
        if newest.phase is Phase.DONE:
            self.next = step.again()  # should it have to be said anew, by another key
            return
        self._closes = Closed(newest.round, newest.attempt, outcome)
        self.next = phases.after(step, self._setup.job, self.history) if outcome == "done" else step.again()

    def _new_model(self, opened: RoundRecord, result: FusionResult) -> NewModel | None:
        if result.weights is not None and self.model is not None:
            model = CurrentModel(self.model.version + 1, result.weights, self.model.standardiser)
        elif result.standardiser is not None:
            model = CurrentModel(self._first_version, self._setup.initial.weights, result.standardiser)
        else:
            return None
        return self._adopt(model, opened.round, result.devices, result.samples)

    def _adopt(self, model: CurrentModel, round_number: int, devices: int, samples: int) -> NewModel:
        self.model = model
        return NewModel(model, model_hash(model.weights, model.standardiser), round_number, devices, samples)

    def _plan_of(self, place: Step | RoundRecord) -> TrainPlan:
        """What the devices do in a round, the strategy's state being the one that it begins with."""
        training = self._setup.job.training
        if place.phase is not Phase.TRAIN:
            return training
        return self._setup.strategy.plan(place.round, training, self._state())

    def _state(self) -> State:
        return load_state(self.strategy_state, self._setup.strategy, self._setup.job.shared_layout.size)

    def _sealed(self, model: CurrentModel, phase: Phase, key: bytes) -> Broadcast:
        """The same bytes for the same key: a variate changes with the model alone, and no version is in two phases of
        which one sends it."""
        control = self._setup.strategy.broadcast(self._state()) if phase is Phase.TRAIN else None
        return broadcast(model, control, key, self._chunk_bytes)

    def _cohort(self, step: Step, ready: Collection[bytes]) -> Cohort:
        if step.phase is Phase.DONE:
            return Cohort((), 0)
        seed = (self._setup.job.seed, step.round, step.attempt, _PHASE_NUMBERS[step.phase])
        job = self._setup.job
        buffer = job.asynchronous.buffer if job.asynchronous else 0
        return choose(step.phase, ready, job.rounds, seed, buffer, step.round, self._memory)
