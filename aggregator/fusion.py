"""Fuses what is in the spool: a pure function of the segment, the model and the strategy's state."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from aggregator import spool
from aggregator.events import Fuse, FusionResult
from aggregator.records import Figures, SpoolEntry
from aggregator.root_set import RootSet
from aggregator.rule import apply_rule, figures_of, load_state
from aggregator.spool import SpooledUpdate, SpooledUpdates
from fedloom.job import Job
from fedloom.learning.metrics import Metrics
from fedloom.learning.standardise import Moments, Standardiser
from fedloom.wire.messages import Phase
from fedloom.wire.records import read_reply
from strategies import FusionError, Strategy


def fuse(
    order: Fuse,
    job: Job,
    strategy: Strategy,
    segment: Path,
    entries: Sequence[SpoolEntry],
    root_set: RootSet | None = None,
) -> FusionResult:
    """The outcome of a round; `root_set` is what the strategy needs of the aggregator's own, or None.

    Raises:
        FusionError: these updates give no sound model; the one before stays.
        StoreError: the spool is damaged.
    """
    entries = sorted(entries, key=lambda entry: entry.key)
    result = FusionResult(
        weights=None,
        standardiser=None,
        strategy_state=order.strategy_state,
        metrics={},
        devices=len({entry.device for entry in entries}),
        samples=sum(entry.samples for entry in entries),
    )
    if order.opened.phase is Phase.STATISTICS:
        return result._replace(standardiser=_standardiser(spool.read(segment, entries), job))
    if order.opened.phase is Phase.EXCHANGE:
        spooled = spool.read(segment, entries)
        return result._replace(replies=tuple((each.device, read_reply(each.update.vector)) for each in spooled))
    trains = order.opened.phase is Phase.TRAIN
    evaluations = spool.read(segment, _evaluations(entries))
    result = result._replace(metrics=_metrics(evaluations, job, job.figures_of(trains=trains)))
    if trains and order.weights is not None:
        shared = job.shared_layout.size
        state = load_state(order.strategy_state, strategy, shared)
        trusted = None
        if root_set:
            plan = strategy.plan(order.opened.round, job.training, state)
            trusted = root_set.update(order.opened.round, plan, order.weights, order.standardiser)
        updates = SpooledUpdates(segment, entries, shared, trusted)
        weights, kept = apply_rule(strategy, job, order.weights, updates, state)
        return result._replace(weights=weights, strategy_state=kept)
    return result


def _evaluations(entries: Sequence[SpoolEntry]) -> list[SpoolEntry]:
    """Of these alone it was the model of this round that they evaluated; one a device, the newest."""
    return list({entry.device: entry for entry in entries if entry.staleness == 0}.values())


def _metrics(updates: Iterable[SpooledUpdate], job: Job, prefixes: Sequence[str]) -> Figures:
    """The summaries of all devices' sums together, of one model a prefix; figures that are not finite are left out."""
    loss, outputs = job.training.loss, job.model.outputs
    totals = [Metrics.zero(loss, outputs) for _ in prefixes]
    with np.errstate(over="ignore", invalid="ignore"):
        for spooled in updates:
            if spooled.update.metrics:
                sums = np.frombuffer(spooled.update.metrics, "<f8").reshape(len(prefixes), -1)
                totals = [
                    total + Metrics.from_vector(own, loss, outputs) for total, own in zip(totals, sums, strict=True)
                ]
    return figures_of(totals, prefixes)


def _standardiser(updates: Iterable[SpooledUpdate], job: Job) -> Standardiser:
    inputs = job.model.inputs
    total = Moments(0, np.zeros(inputs), np.zeros(inputs))
    with np.errstate(over="ignore", invalid="ignore"):  # the result is checked below
        for spooled in updates:
            total += Moments.from_vector(np.frombuffer(spooled.update.vector, "<f8"), inputs)
        if not total.samples:
            raise FusionError("no device has a sample")
        standardiser = total.standardiser()
    if not (np.isfinite(standardiser.shift).all() and np.isfinite(standardiser.scale).all()):
        raise FusionError("the features' mean or deviation is not finite in float32; scale the features")
    return standardiser
