"""A strategy of Flower as one of ours: made anew for each round, from its options and from what it remembers.

So it is as pure as the others: a restart, a round that is tried again and `fedloom round verify` all see the same.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from flwr.app import ArrayRecord, ConfigRecord
from flwr.serverapp.strategy import Strategy

from fedloom.learning.layout import Layout, Vector
from fedloom.learning.plan import TrainPlan
from fedloom.suggest import closest
from strategies.base import Fused, FusionError, State, Updates, total_samples
from strategies.flower.grid import StillGrid
from strategies.flower.memory import Memory, capture, restore
from strategies.flower.messages import config_of, have_identity, to_arrays, to_replies, to_weights

_PLAN_KEYS = {
    name.replace("_", "-"): name for name in TrainPlan.__struct_fields__ if name not in ("loss", "correction")
}
"""What a strategy may set; the rest belongs to the model, and to rules of ours."""
_OUR_KEYS = frozenset({"server-round"})
"""Of a ConfigRecord, what the devices know anyway."""


class FlowerState(State, frozen=True):
    """The strategy's own memory."""

    rounds: int = 0
    """That were fused; flwr's `server_round` is one more."""
    memory: Memory = msgspec.field(default_factory=dict)
    """Empty before the first."""


class FlowerRule(NamedTuple):
    """See `strategies.base.Strategy` for what it promises."""

    make: Callable[[], Strategy]
    """The constructor with the job's options."""
    layout: Layout | None
    """The job's model; None takes all weights as one array."""

    @property
    def is_asynchronous(self) -> bool:
        """Flower's strategies know of no staleness."""
        return False

    def initial_state(self, size: int) -> FlowerState:
        """As the constructor leaves it."""
        return FlowerState()

    def plan(self, round_number: int, base: TrainPlan, state: State) -> TrainPlan:
        """The job's plan, with what the strategy's ConfigRecord says; if that is wrong, `fuse` will say so.

        The round's model is not known here: the strategy sees zeros in its place.
        """
        try:
            return self.planned(base, _own(state))
        except FusionError:
            return base

    def broadcast(self, state: State) -> None:
        """Nothing: Flower's strategies send weights alone."""

    def planned(self, base: TrainPlan, state: FlowerState) -> TrainPlan:
        """The same.

        Raises:
            FusionError: it tells the devices something that they do not know.
        """
        layout = self.layout or Layout(("weights",), ((1,),))
        strategy, _ = self._remembering(state)
        return _configure(strategy, to_arrays(np.zeros(layout.size, np.float32), layout), state, base)

    def fuse(self, weights: Vector, updates: Updates, state: State) -> Fused:
        """Configure, answer, aggregate: in the order of flwr's own loop, which its strategies rely on."""
        total_samples(updates)  # flwr would divide by it
        own, layout = _own(state), self.layout or Layout(("weights",), (weights.shape,))
        strategy, made = self._remembering(own)
        _configure(strategy, to_arrays(weights, layout), own, TrainPlan(loss="mse"))
        replies = to_replies(weights, updates, layout, strategy)
        with _foreign():
            arrays, _ = strategy.aggregate_train(own.rounds + 1, replies)
        return Fused(to_weights(arrays, layout), FlowerState(rounds=own.rounds + 1, memory=capture(strategy, made)))

    def _remembering(self, state: FlowerState) -> tuple[Strategy, dict[str, object]]:
        """A new one that knows what the one before knew, and what the constructor alone had set."""
        have_identity()
        with _foreign():
            strategy = self.make()
        made = dict(vars(strategy))
        if state.rounds:
            restore(strategy, state.memory)
        return strategy, made


def _own(state: State) -> FlowerState:
    """Raises TypeError: it is another rule's."""
    if not isinstance(state, FlowerState):
        raise TypeError(f"the state is a {type(state).__name__}, not FlowerState")
    return state


def _configure(strategy: Strategy, arrays: ArrayRecord, state: FlowerState, base: TrainPlan) -> TrainPlan:
    """`base`, with what the strategy tells the devices."""
    with _foreign():
        asked = strategy.configure_train(state.rounds + 1, arrays, ConfigRecord(), StillGrid(strategy))
        told = config_of(asked, arrays)
    changes: dict[str, object] = {"measure_loss": True} if hasattr(strategy, "train_loss_key") else {}
    for key in told.keys() - _OUR_KEYS:
        if key not in _PLAN_KEYS:
            close = closest(key, _PLAN_KEYS)
            hint = f"did you mean {close!r}?" if close else "a job's devices train as its plan says"
            raise FusionError(f"the strategy of Flower tells the devices {key!r}, which they do not know; {hint}")
        changes[_PLAN_KEYS[key]] = told[key]
    try:
        return msgspec.convert(msgspec.to_builtins(base) | changes, TrainPlan)
    except msgspec.ValidationError as error:
        raise FusionError(f"the strategy of Flower tells the devices what they cannot do: {error}") from None


@contextlib.contextmanager
def _foreign() -> Iterator[None]:
    """Code of others may fail as it likes: the round fails, and the service goes on."""
    try:
        yield
    except FusionError:
        raise
    except (Exception, SystemExit) as error:  # what a strategy raises is not ours to foresee
        raise FusionError(f"the strategy of Flower failed: {type(error).__name__}: {error}") from error
