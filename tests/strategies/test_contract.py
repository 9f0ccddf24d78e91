"""What every strategy promises, checked for each by name; a new one is in here as soon as it is in the registry."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedloom.errors import ConfigError
from fedloom.job.choices import StrategyChoice
from fedloom.learning.plan import TrainPlan
from strategies import ClientUpdate, FusionError, State, create, names, registry
from strategies.base import Fused
from strategies.composed import Composed
from strategies.fedavg import Mean, Sgd
from strategies.testing import BrokenPromiseError, Given, check_strategy


class Need(NamedTuple):
    """What a rule cannot do without."""

    options: Mapping[str, bool | int | float | str]
    fewest: int = 1


NOTHING = Need({})
NEEDS = {
    "qfedavg": Need({"client_learning_rate": 0.1}),
}
ALL = names()


def made(name, server=""):
    return create(StrategyChoice(name, dict(NEEDS.get(name, NOTHING).options), server), "job.toml")


@pytest.mark.parametrize("name", ALL)
def test_every_rule_keeps_every_promise(name):
    check_strategy(made(name), fewest=NEEDS.get(name, NOTHING).fewest)


@pytest.mark.parametrize("server", registry.SERVERS)
@pytest.mark.parametrize("name", registry.COMPOSED)
def test_any_rule_goes_with_any_server(name, server):
    check_strategy(made(name, server), fewest=NEEDS.get(name, NOTHING).fewest)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(8, 20), size=st.integers(1, 40), data=st.data())
@pytest.mark.parametrize("name", ALL)
def test_the_order_of_arrival_does_not_change_a_bit(name, seed, count, size, data):
    strategy = made(name)
    rng = np.random.default_rng(seed)
    sent = [
        ClientUpdate(
            bytes([number]) * 16,
            int(rng.integers(1, 1000)),
            rng.normal(size=size).astype(np.float32),
            steps=int(rng.integers(1, 9)),
            loss=float(rng.uniform(0.0, 3.0)),
            control=rng.normal(size=size).astype(np.float32),
        )
        for number in range(count)
    ]
    weights = rng.normal(size=size).astype(np.float32)
    made_of = [
        strategy.fuse(weights, Given(arrived), strategy.initial_state(size))
        for arrived in (sent, data.draw(st.permutations(sent)))
    ]
    assert made_of[0].weights.tobytes() == made_of[1].weights.tobytes()
    assert made_of[0].state == made_of[1].state


class Bad:
    """A mean that breaks one promise; `Composed` is told what it is by its attributes."""

    is_asynchronous: ClassVar[bool] = False

    def combine(self, updates, size):
        return Mean().combine(updates, size)


class First(Bad):
    def combine(self, updates, size):
        return next(iter(updates)).delta.astype(np.float64)


class Backwards(Bad):
    def combine(self, updates, size):
        return -super().combine(updates, size)


class Sampled(Bad):
    def combine(self, updates, size):
        return super().combine(updates, size) * sum(updates.samples)


class Scribbler(Bad):
    def combine(self, updates, size):
        direction = super().combine(updates, size)
        for update in updates:
            update.delta[:] = 0.0
        return direction


class Hoarder(Bad):
    def combine(self, updates, size):
        super().combine(updates, size)
        return np.mean([update.delta for update in list(updates)], axis=0, dtype=np.float64)


class BlockLover(Bad):
    """Takes the first block for all."""

    def combine(self, updates, size):
        super().combine(updates, size)
        return next(updates.blocks(16)).deltas.mean(axis=0, dtype=np.float64)


class Elephant(Bad):
    def __init__(self):
        self.seen = 0.0

    def combine(self, updates, size):
        direction = super().combine(updates, size)
        self.seen = self.seen / 2 + direction
        return self.seen


class Generous(Bad):
    """Makes a model of nothing."""

    def combine(self, updates, size):
        return super().combine(updates, size) if sum(updates.samples) else np.zeros(size)


class Crashing(Bad):
    def combine(self, updates, size):
        raise KeyError("loss")


class Secret(State, frozen=True):
    rounds: int = 0


class Forgetful(Sgd):
    """Begins with a state that has no room for what it remembers."""

    def step(self, weights, direction, state):
        rounds = getattr(state, "rounds", 0)
        return Fused((weights + direction / (1 + rounds)).astype(np.float32), Secret(rounds=rounds + 1))


class Doubling(Sgd):
    def step(self, weights, direction, state):
        return Fused(weights + direction, state)


class Careless(NamedTuple):
    """A whole rule that looks at nothing."""

    is_asynchronous: bool = False

    def initial_state(self, size):
        return State()

    def plan(self, round_number, base, state):
        return base

    def broadcast(self, state):
        return None

    def fuse(self, weights, updates, state):
        return Fused(weights + Mean().combine(updates, weights.size).astype(np.float32), state)


class Chatty(NamedTuple):
    """A whole rule that broadcasts in float64."""

    is_asynchronous: bool = False

    def initial_state(self, size):
        return State()

    def plan(self, round_number, base, state):
        return base

    def broadcast(self, state):
        return np.zeros(33)

    def fuse(self, weights, updates, state):
        return Composed(Mean(), Sgd()).fuse(weights, updates, state)


class Moody(Careless):
    """Plans another thing each time."""

    plans: ClassVar[Iterator[int]] = iter(range(1, 1000))

    def plan(self, round_number, base, state):
        return msgspec.structs.replace(base, local_epochs=next(self.plans))


@pytest.mark.parametrize(
    ("strategy", "promise"),
    [
        (Composed(First(), Sgd()), "no device is favoured"),
        (Composed(Backwards(), Sgd()), "goes where all updates go"),
        (Composed(Sampled(), Sgd()), "only the ratio of samples"),
        (Composed(Scribbler(), Sgd()), "nothing that it is given is changed"),
        (Composed(Hoarder(), Sgd()), "not used after the next one"),
        (Composed(BlockLover(), Sgd()), "the size of blocks"),
        (Composed(Elephant(), Sgd()), "it remembers in its state alone"),
        (Composed(Generous(), Sgd()), "too little is a FusionError: no updates"),
        (Composed(Crashing(), Sgd()), "KeyError: 'loss'"),
        (Composed(Mean(), Forgetful()), "its state survives a restart"),
        (Composed(Mean(), Doubling()), "finite float32 vector of the same size: float64"),
        (Careless(), "what is not finite never passes"),
        (Moody(), "a plan is a pure function"),
        (Chatty(), "what it broadcasts is nothing, or a finite float32 vector"),
    ],
)
def test_a_broken_promise_is_found_and_named(strategy, promise):
    with pytest.raises(BrokenPromiseError, match=promise):
        check_strategy(strategy)


def test_a_function_that_makes_strategies_is_tested_likewise():
    check_strategy(lambda: made("fedavg"))
    with pytest.raises(BrokenPromiseError, match="it remembers in its state alone"):
        check_strategy(lambda: Composed(Elephant(), Sgd()))


def test_how_few_are_enough_is_a_promise_too():
    class Three(Bad):
        def combine(self, updates, size):
            if len(updates) < 3:
                raise FusionError(f"{len(updates)} updates, of which three are needed")
            return super().combine(updates, size)

    check_strategy(Composed(Three(), Sgd()), fewest=3)
    with pytest.raises(BrokenPromiseError, match=r"sound updates are refused .* say so: fewest="):
        check_strategy(Composed(Three(), Sgd()))
    with pytest.raises(BrokenPromiseError, match="3 updates make a model"):
        check_strategy(Composed(Three(), Sgd()), fewest=4)


def test_a_misspelt_strategy_or_option_is_explained():
    with pytest.raises(ConfigError, match="did you mean 'fedavg'"):
        create(StrategyChoice("fedavgg"), "job.toml")
    with pytest.raises(ConfigError, match="momentun"):
        create(StrategyChoice("fedavg", {"momentun": 1.0}), "job.toml")


@pytest.mark.parametrize("value", ["inf", "nan"])
@pytest.mark.parametrize("name", ["fedavg", "flwr:FedAvgM"])
def test_an_option_is_finite(name, value):
    with pytest.raises(ConfigError, match=rf"strategy\.options\.server_learning_rate: is {value}; set it to a number"):
        create(StrategyChoice(name, {"server_learning_rate": float(value)}), "job.toml")


def test_a_plan_is_the_jobs_own():
    plan = TrainPlan(loss="mse", local_epochs=3)
    strategy = made("fedavg")
    assert strategy.plan(1, plan, strategy.initial_state(3)) == plan
