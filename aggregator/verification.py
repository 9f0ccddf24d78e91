"""Recomputes what a round has fused, and compares it with what was recorded: bit for bit, or within a bound.

With the build that the round records (see aggregator.build), the same bits are expected. Another one may add up in
another order, in float64: for n updates a relative error of n · 2⁻⁵³, which for less than 2²⁸ of them is below half a
unit in the last place of float32, 2⁻²⁴. One cast to float32 follows. So a weight differs by its last place at most:

    |a − b| ≤ ulp₃₂(max(|w|, |Δ₁|, …, |Δₙ|, |a|, |b|))    for each weight, w being the one before and Δₖ the updates

The maximum is what was added up: where updates cancel each other out, the sum is smaller than what it is made of.
"""

import math
from collections.abc import Iterator
from hashlib import sha256
from typing import Literal

import msgspec
import numpy as np

from aggregator import build
from aggregator.damage import DamagedError
from aggregator.past_rounds import PastRound, Run
from aggregator.receipts import disagreements
from aggregator.recompute import Files, Recomputed, Sources
from aggregator.records import CurrentModel
from aggregator.spool import SpooledUpdates
from fedloom.learning.layout import Vector
from fedloom.wire.messages import Phase
from fedloom.wire.model_blob import model_hash, plain_model

_FIGURES = 1e-9
"""Relative difference of figures that another build may compute."""
Outcome = Literal["identical", "within_bound", "different"]


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


def verify(past: PastRound, run: Run, files: Files, given: Sources, again: Recomputed) -> Verified:
    """Compare `again`, made from `given`, with the record of the round."""
    outcome, problems = _compare(past, files, given, again)
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


def _compare(past: PastRound, files: Files, given: Sources, again: Recomputed) -> tuple[Outcome, list[str]]:
    differing = list(_differing(past, again))
    if not differing:
        return "identical", []
    if past.build == build.current():
        return "different", [f"{each}, on the same build" for each in differing]
    excess = list(_beyond_bound(past, files, given, again))
    return ("different", excess) if excess else ("within_bound", [])


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


def _beyond_bound(past: PastRound, files: Files, given: Sources, again: Recomputed) -> Iterator[str]:
    """Another build has fused: compare with the model itself, where it is still there. A state is not compared."""
    figures = again.result.metrics
    if figures.keys() != past.metrics.keys() or any(
        not math.isclose(value, past.metrics[name], rel_tol=_FIGURES) for name, value in figures.items()
    ):
        yield f"the figures differ: {past.metrics} recorded, {figures} recomputed"
    if past.model is None or again.model is None:
        return
    try:
        recorded = _numbers(files.registry.load_known(past.model.version, past.model.hash))
    except DamagedError as damage:
        yield f"another build has fused, and the model to compare with is not there ({damage}): see retention.models"
        return
    mine = _numbers(again.model)
    largest = np.maximum(np.abs(recorded), np.abs(mine))
    if given.before is not None:
        np.maximum(largest, np.abs(_numbers(given.before)), out=largest)
        weights = largest[: given.before.weights.size]
        for each in SpooledUpdates(given.segment, given.entries, weights.size):
            np.maximum(weights, np.abs(each.delta), out=weights)
    gap = np.abs(recorded.astype(np.float64) - mine)
    if count := int((gap > np.spacing(largest)).sum()):
        yield f"{count} of {gap.size} weights differ by more than the last place of float32"


def _numbers(model: CurrentModel) -> Vector:
    """Weights, shift and scale."""
    return np.frombuffer(plain_model(model.weights, model.standardiser), "<f4")


def _hash(state: bytes) -> bytes:
    return sha256(state).digest() if state else b""
