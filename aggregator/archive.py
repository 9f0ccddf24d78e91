"""The durable side: carries out what the coordinator wants stored, fused and turned. Called from one thread."""

from collections.abc import Sequence
from pathlib import Path

from aggregator import build, history, past_rounds
from aggregator.config import Retention
from aggregator.damage import DamagedError, quarantine
from aggregator.enrolment.decisions import Enrolments
from aggregator.events import Decide, Decided, FleetChanged, Fuse, Fused, Renew, Renewed, Stored, Turn, Turned
from aggregator.exchange.journal import Journal
from aggregator.fusion import fuse
from aggregator.recompute import Files
from aggregator.records import Answer, RoundRecord
from aggregator.root_set import RootSet
from fedloom.failpoints import failpoint
from fedloom.job import Job
from fedloom.wire.messages import Phase, Verdict
from strategies import FusionError, Strategy


class Archive:
    """Store, spool and registry of one run. Every method is durable when it returns; a StoreError ends the process."""

    def __init__(
        self,
        files: Files,
        enrolments: Enrolments,
        job: Job,
        strategy: Strategy,
        retention: Retention,
        root_set: RootSet | None,
        journal: Journal | None = None,
    ) -> None:
        self.store, self.registry, self._states, self._spool = files
        self._enrolments = enrolments
        self._job = job
        self._strategy = strategy
        self._retention = retention
        self._root_set = root_set
        self._journal = journal
        self._opened: RoundRecord | None = None
        self._has_forgotten = False
        """Whether no key of a closed round is on the disk any more."""

    def resume(self, opened: RoundRecord | None) -> None:
        """The round that answers belong to. The process before may have died with erased keys still in the log."""
        self._opened = opened
        self._has_forgotten = self.store.forget()

    def add(self, manifest_version: int, answers: Sequence[Answer]) -> Stored:
        """Keep answers that came together: one append to the spool, one transaction."""
        accepted = [answer for answer in answers if answer.verdict is Verdict.ACCEPTED]
        entries = self._spool.append(self._segment(), accepted) if accepted else []
        self.store.add_answers(manifest_version, answers, entries)
        failpoint("aggregator.answer-committed")
        return Stored(tuple(answers))

    def fuse(self, order: Fuse) -> Fused:
        """The outcome of a round, from what is in the spool.

        Receipts were given for all of it: where some is damaged, the attempt is aborted, which a manifest tells.
        """
        failpoint("aggregator.quorum")
        entries = history.entries(self.store, order.opened.manifest_version)
        segment = self._segment()
        try:
            return Fused(fuse(order, self._job, self._strategy, segment, entries, self._root_set), "")
        except FusionError as error:
            return Fused(None, str(error))
        except DamagedError as damage:
            return Fused(None, f"{damage}; {quarantine(segment)}")

    def turn(self, turn: Turn) -> Turned:
        """Close a round, keep its model, open the next."""
        saved = (turn.model, self.registry.save(turn.model)) if turn.model else None
        before, closed = self._opened, turn.closed
        if closed and closed.outcome == "done":
            closed = closed._replace(build=build.current())
            self._states.save(closed.strategy_state)
        if saved:
            failpoint("aggregator.fused")
        if self._journal and turn.entry:
            self._journal.write(turn.entry)
        self.store.turn(closed, saved, turn.opened, self._job.name, turn.standings)
        if saved:
            failpoint("aggregator.model-committed")
        if turn.opened:
            failpoint("aggregator.round-committed")
        self._has_forgotten = self.store.forget()
        if turn.closed and turn.closed.metrics and before and before.model_version is not None:
            self.registry.evaluated(before.model_version, turn.closed.metrics)
        if turn.opened:
            self._opened = turn.opened
            oldest = turn.opened.round - self._retention.rounds
            self._spool.prune(turn.opened.job, oldest)
            self._states.prune(past_rounds.kept_states(self.store, turn.opened.job, oldest))
            if turn.opened.phase is Phase.DONE and turn.opened.model_version is not None:
                self.registry.annotate(turn.opened.model_version)
        self.registry.prune(self._retention.models)
        self.store.prune(self._retention.rounds_kept(self._job))
        return Turned()

    def decide(self, orders: Sequence[Decide]) -> Decided:
        """Let devices in, or not: requests that came together are one transaction."""
        return Decided(self._enrolments.decide([order.request for order in orders]))

    def renew(self, orders: Sequence[Renew]) -> Renewed:
        """Renew credentials, in one transaction."""
        return Renewed(self._enrolments.renew([order.device for order in orders], orders[0].at_s))

    def changed_fleet(self) -> FleetChanged | None:
        """The devices and tokens, if another process has written since the last call."""
        if not self._has_forgotten:
            self._has_forgotten = self.store.forget()
        if not self.store.was_changed_by_others():
            return None
        return FleetChanged(tuple(self.store.devices()), self._enrolments.tokens())

    def close(self) -> None:
        self.store.close()

    def _segment(self) -> Path:
        if self._opened is None:
            raise RuntimeError("no round is open")
        return self._spool.segment(self._opened.job, self._opened.round, self._opened.attempt)
