"""Recomputes what a round has fused, and compares it with what was recorded: bit for bit, or within a bound.

With the build that the round records (see aggregator.build), the same bits are expected. Another one may add up in
another order: aggregator.bound says how far apart the two results may be.
"""

import math
from collections.abc import Iterator
from hashlib import sha256
from typing import Literal

import msgspec
import numpy as np

from aggregator import build
from aggregator.bound import gap_in_places, last_places
from aggregator.damage import DamagedError
from aggregator.past_rounds import MadeModel, PastRound, Run
from aggregator.receipts import disagreements
from aggregator.recompute import Files, Recomputed, Sources
from aggregator.records import CurrentModel
from aggregator.spool import SpooledUpdates
from fedloom.learning.layout import Vector
from fedloom.wire.messages import Phase
from fedloom.wire.model_blob import model_hash, plain_model
from strategies import Strategy

_FIGURES = 1e-9
"""Relative difference of figures that another build may compute."""
Outcome = Literal["identical", "within_bound", "different", "undecided"]
"""undecided: another build has fused, with a rule for which no bound is known, or the model to compare with is gone."""


class Verified(msgspec.Struct, frozen=True):
    """What a recomputation has shown."""

    job: str
    run: str
    """Its id, hex."""
    round: int
    attempt: int
    phase: str
    updates: int
    outcome: Outcome
    recorded: str
    """SHA-256 of the model that the round made; empty where it makes none, and figures are compared."""
    recomputed: str
    build: str
    """Of the round."""
    build_here: str
    problems: list[str]
    """Empty where all is as it should be."""


def verify(past: PastRound, run: Run, files: Files, strategy: Strategy, given: Sources, again: Recomputed) -> Verified:
    """Compare `again`, which `strategy` has made from `given`, with the record of the round."""
    outcome, problems = _compare(past, files, strategy, given, again)
    return Verified(
        job=run.job.name,
        run=run.id.hex(),
        round=past.opened.round,
        attempt=past.opened.attempt,
        phase=past.opened.phase.value,
        updates=len(given.entries),
        outcome=outcome,
        recorded=past.model.hash.hex() if past.model else "",
        recomputed=model_hash(again.model.weights, again.model.standardiser).hex() if again.model else "",
        build=past.build,
        build_here=build.current(),
        problems=[*problems, *disagreements(past, files.store, given)],
    )


def _compare(
    past: PastRound, files: Files, strategy: Strategy, given: Sources, again: Recomputed
) -> tuple[Outcome, list[str]]:
    differing = list(_differing(past, again))
    if not differing:
        return "identical", []
    if past.build == build.current():
        return "different", [f"{each}, on the same build" for each in differing]
    figures = list(_other_figures(past, again))
    if past.model is None or again.model is None:
        problems = figures if past.opened.phase is Phase.EVALUATE else differing
        return ("different", problems) if problems else ("within_bound", [])
    outcome, problems = _compare_models(past, past.model, files, strategy, given, again.model)
    return ("different", [*figures, *problems]) if figures else (outcome, problems)


def _differing(past: PastRound, again: Recomputed) -> Iterator[str]:
    """What has not the same bits."""
    if past.opened.phase is not Phase.EVALUATE and past.model is None:
        yield "the store knows no model that the round made: it differs"
    if past.model and again.model and model_hash(again.model.weights, again.model.standardiser) != past.model.hash:
        yield "the model differs from the recorded hash"
    if past.opened.phase is Phase.TRAIN and _hash(again.result.strategy_state) != past.state_after:
        yield "the strategy's state differs from the recorded hash"
    if again.result.metrics != past.metrics:
        yield f"the figures differ: {past.metrics} recorded, {again.result.metrics} recomputed"


def _other_figures(past: PastRound, again: Recomputed) -> Iterator[str]:
    """Another build has computed them."""
    figures = again.result.metrics
    if figures.keys() != past.metrics.keys() or any(
        not math.isclose(value, past.metrics[name], rel_tol=_FIGURES) for name, value in figures.items()
    ):
        yield f"the figures differ: {past.metrics} recorded, {figures} recomputed"


def _compare_models(
    past: PastRound, known: MadeModel, files: Files, strategy: Strategy, given: Sources, again: CurrentModel
) -> tuple[Outcome, list[str]]:
    """Another build has fused: compare with the model itself, where it is still there. A state is not compared."""
    try:
        recorded = _numbers(files.registry.load_known(known.version, known.hash))
    except DamagedError as damage:
        said = f"another build has fused, and the model to compare with is not there ({damage}): see retention.models"
        return "undecided", [said]
    gaps = gap_in_places(recorded, _numbers(again), _terms(given))
    places = last_places(past.opened.phase, strategy)
    if places is None:
        said = (
            f"the weights differ by {gaps.max():.3g} last places of float32 at most; another build has fused, and how"
        )
        return "undecided", [f"{said} far it may come with this strategy is not known: verify with {past.build}"]
    if count := int((gaps > places).sum()):
        return "different", [f"{count} of {gaps.size} weights differ by more than {places:g} last places of float32"]
    return "within_bound", []


def _terms(given: Sources) -> Iterator[Vector]:
    """What the model was made from."""
    if given.before is not None:
        yield _numbers(given.before)
        for each in SpooledUpdates(given.segment, given.entries, given.size):
            yield each.delta


def _numbers(model: CurrentModel) -> Vector:
    """Weights, shift and scale."""
    return np.frombuffer(plain_model(model.weights, model.standardiser), "<f4")


def _hash(state: bytes) -> bytes:
    return sha256(state).digest() if state else b""
