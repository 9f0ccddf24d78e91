"""A federation of virtual clients: the aggregator's steps over a crew's work.

It tells of itself in the aggregator's notices, so that whoever follows a fleet can follow this, too.
"""

import time
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from aggregator.cohorts.memory import Memory
from aggregator.cohorts.registry import create as create_rule
from aggregator.notices import AnyNotice, RoundClosed, RoundOpened
from aggregator.phases import Step, after, first, remember
from aggregator.records import Figures
from aggregator.root_set import RootSet
from aggregator.round import fewest_updates
from aggregator.rule import figures_of
from fedloom.errors import FedloomError, InputError
from fedloom.job import Job
from fedloom.learning.metrics import Metrics, Sums
from fedloom.learning.model import Model
from fedloom.wire.messages import Phase
from simulation.cohort.admission import Admission, admit, counted
from simulation.cohort.choosing import Chooser
from simulation.cohort.crew import Crew, MakeCrew
from simulation.cohort.gathering import gather
from simulation.cohort.kernels import Backend
from simulation.cohort.lies import Liars
from simulation.cohort.memory import ClientMemory
from simulation.cohort.preparing import context_of, standardiser_of
from simulation.cohort.round import Asked, Done, tested
from simulation.cohort.server import Server
from simulation.cohort.standings import of_statistics, standings
from simulation.cohort.task import Common, Context, Mask
from simulation.cohort.timetable import Entrants, make_timetable
from simulation.cohort.updates import Figures as UpdateFigures
from simulation.divergence import with_remedy
from simulation.history import TEST, History, Tries
from simulation.population.base import Ids, Population
from simulation.world.attackers import attackers_of
from simulation.world.summary import in_vain, without
from strategies import FusionError

_ATTEMPTS = 3
"""At a round, with other clients each time."""


class SimulationError(FedloomError):
    """A round has failed so often that it would for ever."""

    exit_status = 1


class Federation:
    """One job over one population, from its first round to its final model."""

    def __init__(
        self,
        job: Job,
        where: Path,
        population: Population,
        make_crew: MakeCrew,
        root_set: RootSet | None = None,
        backend: Backend = "numpy",
    ) -> None:
        """`where` is the job's file, `backend` what the crew's products are computed with.

        Raises:
            InputError: the job cannot be run, or the data set does not fit it.
        """
        check_clients(job, str(where), population.clients, "clients")
        self.history = History(job=job.name, engine="cohort")
        self._tries = Tries(self.history)
        self._job, self._population, self._make_crew, self._backend = job, population, make_crew, backend
        self._server = Server(job, where, root_set)
        self._chooser = Chooser(job, population.clients, Memory(create_rule(job, str(where))))
        self._clients = ClientMemory(job, self._server.first_plan)
        self._attackers = attackers_of(job.simulation, population.clients, job.seed)
        plan, refuse = self._server.first_plan, self._attackers.refused
        self._timetable = make_timetable(job, where, population, self._chooser, refuse, plan)
        self._commons: dict[int, Common] = {}
        """Of the rounds from whose models a client may still train."""
        self._moved = np.zeros(job.shared_layout.size, np.float32)
        """(b,) what the last round has added to what is shared of the model."""
        self._figures: list[Figures] = []

    @property
    def population(self) -> Population:
        """Whose clients they are."""
        return self._population

    @property
    def lead(self) -> str:
        """What it is, in a line."""
        people, job = self._population, self._job
        size, samples = job.model.layout().size, people.pool.samples
        told = f"{people.clients:,} virtual clients of a pool of {samples:,} samples, a model of {size:,} weights"
        if self._backend == "numba":
            told += "; compiled, which takes some ten seconds the first time on a machine"
        return told

    @property
    def model(self) -> Model:
        """As it is now."""
        return self._server.model()

    def run(self) -> Iterator[AnyNotice]:
        """All rounds; what they come to is in `history` and `model`.

        Here, too, with one BLAS thread: sums are others with two, so that a machine with more cores, or a crew that
        leaves this process's threads alone, would come to other bits.

        Raises:
            SimulationError: a round makes no model, whoever takes part, or the last one cannot be measured.
        """
        with threadpool_limits(1, "blas"):
            yield from self._run()

    def _run(self) -> Iterator[AnyNotice]:
        step = first(self._job, self._server.standardiser is not None)
        if step.phase is Phase.STATISTICS:
            yield self._statistics(step)
            step = after(step, self._job, ())
        context = context_of(self._job, self._population, self._server.standardiser)
        context = context._replace(attackers=self._attackers, backend=self._backend)
        with self._make_crew(context) as crew:
            while step.phase is not Phase.DONE:
                step = yield from self._round(step, crew, context)
            if context.test and not self._job.rounds.evaluate:  # nobody has looked at the last model yet
                common = Common(step.round, self._job.training, False, self._server.weights)
                self.history.measured(step.round - 1, self._named(tested(crew, context, common), TEST))
            if context.test and f"{TEST}loss" not in self.history.metrics[-1]:
                self._check_measured("its loss on the test set is not finite")

    def _statistics(self, step: Step) -> RoundClosed:
        began_s, clients = time.monotonic(), self._population.clients
        self._server.standardiser = standardiser_of(self._population)
        if self._chooser.remembers:
            self._chooser.heard(of_statistics(self._population), np.zeros(0, np.intp), step.round)
        return RoundClosed(
            step.round, step.attempt, step.phase, "done", "", clients, 0, 0, time.monotonic() - began_s, {}, None, 0, 0
        )

    def _round(self, step: Step, crew: Crew, context: Context) -> Generator[AnyNotice, None, Step]:
        began_s, trains = time.monotonic(), step.phase is Phase.TRAIN
        entrants = self._timetable.round(step)
        yield RoundOpened(step.round, step.attempt, step.phase, len(entrants.chosen.ids), entrants.chosen.target)
        server = self._server
        plan, control = (server.plan(step.round), server.broadcast()) if trains else (self._job.training, None)
        common = Common(step.round, plan, trains, server.weights, control)
        self._keep(common)
        asked, done = gather(crew, context, self._clients, entrants, self._commons, step.round)
        admission, reason = Admission(done.is_able, ()), ""
        if trains:
            liars = Liars(context, self._clients, self._commons, entrants.bases)
            truth = liars.speak(asked, done, self._moved, step.round)
            admission = admit(done, self._job)
            done = counted(done, admission.is_in, context, common, asked)
            self._remember(step, entrants, asked, done, admission.is_in)
            reason = self._fuse(step, entrants, asked, done, admission)
            self._clients.settled(asked, done, admission.is_in & (not reason), plan, truth)
        metrics = {} if reason else self._metrics(done, trains)
        closed = _closed(step, done, admission.is_in, reason, metrics, time.monotonic() - began_s)
        if trains:
            self._note(closed, common, entrants, admission.is_in)
        if metrics:
            self.history.measured(step.round - 1, metrics)
            self._figures = remember([*self._figures, metrics], self._job.stopping)
        yield closed
        if step.phase is Phase.EVALUATE and not done.is_able.any():
            self._check_measured("; ".join(done.reasons))
        return self._after(step, reason)

    def _check_measured(self, reason: str) -> None:
        """Refuse a last model that has diverged, of which nobody could say how good it is."""
        if told := with_remedy(self._job, reason):
            raise SimulationError(f"the last model cannot be measured: {told}")

    def _keep(self, common: Common) -> None:
        """What this round tells its clients, as long as an answer to it counts."""
        most = self._job.asynchronous.max_staleness if self._job.asynchronous else 0
        kept = {number: each for number, each in self._commons.items() if number >= common.round - most}
        self._commons = kept | {common.round: common}

    def _remember(self, step: Step, entrants: Entrants, asked: Asked, done: Done, is_in: Mask) -> None:
        """Where the rule that chooses looks at it."""
        if self._chooser.remembers:
            told = standings(self._job, self._population, entrants, asked, done, is_in)
            self._chooser.heard(told, entrants.chosen.ids, step.round)

    def _fuse(self, step: Step, entrants: Entrants, asked: Asked, done: Done, admission: Admission) -> str:
        """Make the next model; why there is none, or nothing."""
        is_in = admission.is_in
        count, needed = self._answered(asked.ids[is_in]), fewest_updates(step.phase, self._job.rounds)
        if count < needed:  # who declines or is refused lowers the quorum, and who is silent is not among these
            said = [*admission.reasons, *done.reasons]
            return "; ".join([f"{count} updates of {needed} needed", *said[:3]])
        staleness = step.round - entrants.bases if self._job.asynchronous else None
        figures = UpdateFigures(asked.ids, done.samples, done.steps, done.losses, staleness)
        before = self._server.weights
        try:
            if is_in.all():
                self._server.fuse(step.round, figures, done.deltas, done.controls)
            else:
                controls = None if done.controls is None else done.controls[is_in]
                self._server.fuse(step.round, figures.of(np.flatnonzero(is_in)), done.deltas[is_in], controls)
        except FusionError as error:
            return str(error)
        self._moved = (self._server.weights - before)[: self._moved.size]
        return ""

    def _answered(self, ids: Ids) -> int:
        """Clients that so many updates are of."""
        return len(np.unique(ids)) if self._job.asynchronous else len(ids)

    def _note(self, closed: RoundClosed, common: Common, entrants: Entrants, is_in: Mask) -> None:
        beside = 0 if common.control is None else common.control.size
        is_done, attempts = closed.outcome == "done", entrants.attempts
        if entrants.used is not None:  # the clock knows who answers, and not what is admitted of it
            staleness = closed.round - entrants.bases if self._job.asynchronous else None
            attempts = without(attempts, is_in, entrants.used, staleness)
        self._tries.over(
            closed.accepted if is_done else None,
            seconds=closed.seconds,
            update_bytes=closed.bytes,
            model_bytes=4 * len(entrants.ids) * (common.weights.size + beside),
            attempts=attempts if is_done or not attempts else in_vain(attempts),
        )

    def _metrics(self, done: Done, trains: bool) -> Figures:
        totals = [self._total(sums) for sums in done.metrics]
        tested = {} if done.test is None else self._named(done.test, TEST)
        return figures_of(totals, self._job.figures_of(trains=trains)) | tested

    def _named(self, sums: Sums, prefix: str) -> Figures:
        return figures_of([self._total(sums)], [prefix])

    def _total(self, sums: Sums) -> Metrics:
        return Metrics(self._job.training.loss, self._job.model.outputs, sums)

    def _after(self, step: Step, reason: str) -> Step:
        if not reason:
            return after(step, self._job, self._figures)
        if step.attempt < _ATTEMPTS:
            return step.again()
        told = with_remedy(self._job, reason) or reason
        raise SimulationError(f"round {step.round} makes no model after {_ATTEMPTS} attempts: {told}")


def check_clients(job: Job, where: str, clients: int, what: str) -> None:
    """Refuse a job that would wait for ever for devices, of which there are so many; `what` makes one.

    Raises:
        InputError: names the key.
    """
    if job.rounds.devices > clients:
        problem = f"the job waits for {job.rounds.devices} devices, but there are {clients} {what}"
        raise InputError(where, "rounds.devices", problem, f"lower it or add {what}")
    if job.cohort.require:
        problem = "the devices of a simulation have no labels, so that none could take part"
        raise InputError(where, "cohort.require", problem, "leave it out to simulate the job")


def _closed(step: Step, done: Done, is_in: Mask, reason: str, metrics: Figures, seconds: float) -> RoundClosed:
    accepted, samples = int(is_in.sum()), int(done.samples[is_in].sum())
    able = int(done.is_able.sum())
    return RoundClosed(
        round=step.round,
        attempt=step.attempt,
        phase=step.phase,
        outcome="aborted" if reason else "done",
        reason=reason,
        accepted=accepted,
        declined=len(is_in) - able,
        rejected=able - accepted,
        seconds=seconds,
        metrics=metrics,
        train_loss=float(done.train_losses[is_in].sum()) / samples if samples else None,
        bytes=done.sent_bytes,
        dropped=0,
    )
