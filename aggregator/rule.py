"""What a strategy makes of a round's updates, wherever they are: the same for a fleet and for a simulation."""

from collections.abc import Iterable, Sequence

import numpy as np

from aggregator.records import Figures
from fedloom import msgpack
from fedloom.job import Job
from fedloom.learning.layout import Vector
from fedloom.learning.metrics import Metrics
from strategies import FusionError, Strategy
from strategies.base import State, Updates, check_finite

_MISTAKES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def apply_rule(strategy: Strategy, job: Job, weights: Vector, updates: Updates, state: State) -> tuple[Vector, bytes]:
    """The new weights (p,), and the state as `load_state` reads it. No rule sees weights that stay on the devices.

    Raises:
        FusionError: no sound model comes of it, or the rule has failed.
    """
    shared = job.shared_layout.size
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # the result is checked below
            fused = strategy.fuse(weights[:shared], updates, state)
        made, kept = _sound(fused.weights, shared), _kept(fused.state, type(state))
    except _MISTAKES as mistake:  # of a rule that any package may have brought: with it the round ends, and no more
        said = f"{type(mistake).__name__}: {mistake}"
        raise FusionError(f"strategy {job.strategy.name!r} has failed: {said}") from mistake
    if shared < weights.size:  # the rest stays what the job began with
        made = np.concatenate([made, weights[shared:]])
    return made, kept


def _sound(weights: Vector, size: int) -> Vector:
    """What a rule has made, if it can be a model of `size` weights.

    Raises:
        FusionError: it is not finite.
        TypeError: it is not what `Strategy` promises.
    """
    if weights.dtype != np.float32 or weights.shape != (size,):
        raise TypeError(f"its model is {weights.dtype} {weights.shape}, not float32 {(size,)}")
    check_finite(weights)
    return weights


def _kept(state: State, kind: type[State]) -> bytes:
    """As `load_state` reads it.

    Raises:
        TypeError: it would be read as another, and what it has more be lost.
    """
    if type(state) is not kind:
        raise TypeError(f"its state is a {type(state).__name__}, which began as a {kind.__name__}")
    return msgpack.encode(state)


def load_state(blob: bytes, strategy: Strategy, size: int) -> State:
    """What the strategy remembered, or its state before round 1 for an empty `blob`."""
    initial = strategy.initial_state(size)
    return msgpack.decode(blob, type(initial)) if blob else initial


def figures_of(totals: Iterable[Metrics], prefixes: Sequence[str]) -> Figures:
    """The summaries of one total a prefix; figures that are not finite are left out."""
    with np.errstate(over="ignore", invalid="ignore"):
        summaries = [total.summary() if total.samples else {} for total in totals]
    named = [
        (prefix + name, value) for prefix, own in zip(prefixes, summaries, strict=True) for name, value in own.items()
    ]
    return {name: float(value) for name, value in named if np.isfinite(value)}
