"""What every strategy is held to: `check_strategy` for the tests of ours and of anybody's.

>>> from strategies import create
>>> from fedloom.job.choices import StrategyChoice
>>> check_strategy(create(StrategyChoice("fedavg"), "job.toml"))
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fedloom import msgpack
from fedloom.errors import FedloomError
from fedloom.learning.layout import Vector
from fedloom.learning.plan import TrainPlan
from strategies.base import Block, ClientUpdate, Fused, FusionError, State, Strategy, Updates
from strategies.in_memory import UpdatesInMemory

_SIZE = 33
_ROUNDING = 1e-5
"""Of numbers that were added up in another order and went through a server optimiser, by the largest of them or 1."""
_MANY = 40
"""More updates than a rule decodes at once."""
_PLAN = TrainPlan(loss="mse")


class Given(UpdatesInMemory):
    """What a rule is given here: the aggregator's own update, for rules that compare others with it, is sound."""

    def __init__(self, updates: Iterable[ClientUpdate], trusted: Vector | None = None) -> None:
        """`trusted` (p,) is that update; None: the mean of the others."""
        super().__init__(updates)
        if trusted is None and len(self):
            trusted = np.mean([update.delta.astype(np.float64) for update in self], axis=0).astype(np.float32)
        self.trusted: Vector | None = trusted


class BrokenPromiseError(AssertionError):
    """A strategy does not keep one of `PROMISES`."""


class Subject(NamedTuple):
    """What is tested."""

    strategy: Strategy
    fewest: int

    def updates(self, seed: int, count: int = 5) -> list[ClientUpdate]:
        """So many, or as many as it needs, with everything that a plan may ask for; drawn from `seed`."""
        rng = np.random.default_rng(seed)
        return [
            ClientUpdate(
                client=bytes([number]) * 16,
                samples=int(rng.integers(1, 1000)),
                delta=rng.normal(size=_SIZE).astype(np.float32),
                steps=int(rng.integers(1, 20)),
                loss=float(rng.uniform(0.1, 2.0)),
                control=rng.normal(size=_SIZE).astype(np.float32),
            )
            for number in range(max(count, self.fewest))
        ]

    def fuse(self, updates: Updates, state: State | None = None) -> Fused:
        """From `state`, or from the beginning; what is not finite is no reason to warn."""
        with np.errstate(all="ignore"):
            return self.strategy.fuse(_weights(), updates, state or self.strategy.initial_state(_SIZE))

    def bits(self, given: Sequence[ClientUpdate]) -> bytes:
        """Of the model and the state that they make."""
        weights, state = self.fuse(Given(given))
        return weights.tobytes() + msgpack.encode(state)

    def weights(self, given: Sequence[ClientUpdate]) -> Vector:
        """That they make."""
        return self.fuse(Given(given)).weights


def check_strategy(given: Strategy | Callable[[], Strategy], *, fewest: int = 1) -> None:
    """Hold a strategy, or those that a function makes, to all of `PROMISES`.

    What is only a `Combine` is tested as `Composed(Mine(), Sgd())`. `fewest` is how many updates it needs; with fewer
    it must raise FusionError.

    Raises:
        BrokenPromiseError: names the promise, and how it was broken.
    """
    for promise, check in PROMISES.items():
        strategy = given() if callable(given) else given
        try:
            problem = check(Subject(strategy, fewest))
        except FusionError as error:
            problem = f"sound updates are refused ({error}); if it needs more than {fewest}, say so: fewest="
        except (FedloomError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            raise BrokenPromiseError(f"{strategy!r} breaks the promise that {promise}: {problem}")


def _weights() -> Vector:
    return np.linspace(-1.0, 1.0, _SIZE, dtype=np.float32)


def _gap(one: Vector, other: Vector) -> str:
    """How far apart they are, if that is not rounding."""
    gap = float(np.abs(one - other).max())
    return "" if gap <= _ROUNDING * max(1.0, float(np.abs(one).max())) else f"a weight differs by {gap:.3g}"


class _Reused(Given):
    """Hands out one buffer for all deltas, as the aggregator's spool does."""

    def __iter__(self) -> Iterator[ClientUpdate]:
        for block in self.blocks(1):
            yield from block.updates


class _SmallBlocks(Given):
    """Hands out blocks of three, save where all were asked for at once."""

    def blocks(self, rows: int) -> Iterator[Block]:
        return super().blocks(rows if rows >= len(self) else min(rows, 3))


def _is_vector(subject: Subject) -> str:
    for count in (subject.fewest, 5):
        fused = subject.weights(subject.updates(1, count))
        if fused.dtype != np.float32 or fused.shape != (_SIZE,):
            return f"{fused.dtype} {fused.shape} of float32 {(_SIZE,)}"
        if not np.isfinite(fused).all():
            return "the model is not finite"
    return ""


def _goes_where_all_go(subject: Subject) -> str:
    given = subject.updates(2, subject.fewest)
    same = [update._replace(delta=given[0].delta, control=given[0].control) for update in given]
    moved = subject.weights(same) - _weights()
    wrong = int((np.sign(moved) != np.sign(given[0].delta)).sum())
    return f"{wrong} of {_SIZE} weights went the other way, or nowhere" if wrong else ""


def _ignores_arrival(subject: Subject) -> str:
    given = subject.updates(3)
    bits = subject.bits(given)
    return (
        "" if all(subject.bits(other) == bits for other in (given[::-1], given[2:] + given[:2], given)) else "it does"
    )


def _favours_nobody(subject: Subject) -> str:
    given = subject.updates(4)
    names = [update.client for update in given]
    renamed = [update._replace(client=name) for update, name in zip(given, names[::-1], strict=True)]
    return _gap(subject.weights(given), subject.weights(renamed))


def _ignores_scale_of_samples(subject: Subject) -> str:
    given = subject.updates(5)
    scaled = [update._replace(samples=7 * update.samples) for update in given]
    return _gap(subject.weights(given), subject.weights(scaled))


def _touches_nothing(subject: Subject) -> str:
    given, weights = Given(subject.updates(6)), _weights()
    state = subject.fuse(Given(subject.updates(6))).state
    before = [array.tobytes() for array in _arrays(given, weights)], msgpack.encode(state)
    fused = subject.strategy.fuse(weights, given, state)
    if ([array.tobytes() for array in _arrays(given, weights)], msgpack.encode(state)) != before:
        return "weights, updates or state are not what they were"
    return "the model is the array that was given" if np.shares_memory(fused.weights, weights) else ""


def _arrays(given: UpdatesInMemory, weights: Vector) -> Iterator[Vector]:
    yield weights
    for update in given:
        yield from (each for each in (update.delta, update.control) if each is not None)


def _keeps_no_buffer(subject: Subject) -> str:
    given = subject.updates(7)
    return _gap(subject.weights(given), subject.fuse(_Reused(given)).weights)


def _ignores_blocks(subject: Subject) -> str:
    given = subject.updates(8, _MANY)
    return _gap(subject.weights(given), subject.fuse(_SmallBlocks(given)).weights)


def _survives_a_restart(subject: Subject) -> str:
    """Three rounds on end, and three with the state written and read between them."""
    initial = subject.strategy.initial_state(_SIZE)
    went_on = restarted = Fused(_weights(), initial)
    for number in range(3):
        given = Given(subject.updates(9 + number))
        went_on = subject.fuse(given, went_on.state)
        read = msgpack.decode(msgpack.encode(restarted.state), type(initial))
        restarted = subject.fuse(given, read)
        if went_on.weights.tobytes() != restarted.weights.tobytes():
            return f"round {number + 1} makes another model from a state that was written and read"
    return ""


def _remembers_in_its_state_alone(subject: Subject) -> str:
    given = subject.updates(12)
    bits = subject.bits(given)
    subject.bits(subject.updates(13))
    return "" if subject.bits(given) == bits else "the same updates make another model after others were fused"


def _plans_purely(subject: Subject) -> str:
    strategy, state = subject.strategy, subject.strategy.initial_state(_SIZE)
    before = msgpack.encode(state)
    first = strategy.plan(1, _PLAN, state)
    strategy.plan(2, _PLAN, state)
    for made, kind in ((state, State), (first, TrainPlan)):
        if not isinstance(made, kind):
            return f"a {type(made).__name__} is no {kind.__name__}"
    is_same = strategy.plan(1, _PLAN, state) == first and msgpack.encode(state) == before
    return "" if is_same else "the second plan of round 1 is another"


def _broadcasts_a_vector(subject: Subject) -> str:
    for state in (subject.strategy.initial_state(_SIZE), subject.fuse(Given(subject.updates(17))).state):
        beside = subject.strategy.broadcast(state)
        if beside is not None and (beside.dtype != np.float32 or beside.shape != (_SIZE,)):
            return f"{beside.dtype} {beside.shape} of float32 {(_SIZE,)}"
        if beside is not None and not np.isfinite(beside).all():
            return "it is not finite"
    return ""


def _lets_nothing_through(subject: Subject) -> str:
    given = subject.updates(14)
    for bad in (np.nan, np.inf, -np.inf, float(np.finfo(np.float32).max)):
        for count in (1, len(given)):
            poisoned = [*(_poisoned(update, bad) for update in given[:count]), *given[count:]]
            try:
                fused = subject.fuse(Given(poisoned, Given(given).trusted))
                after = subject.fuse(Given(given), fused.state)
            except FusionError:
                continue
            if not (np.isfinite(fused.weights).all() and np.isfinite(after.weights).all()):
                return f"updates of {bad} make a model that is not finite, where FusionError is due"
    return ""


def _poisoned(update: ClientUpdate, bad: float) -> ClientUpdate:
    return update._replace(delta=np.full(_SIZE, bad, np.float32))


def _refuses_too_few(subject: Subject) -> str:
    given = subject.updates(15)
    unfit = {
        "no updates": [],
        "updates without a sample": [update._replace(samples=0) for update in given],
        f"{subject.fewest - 1} updates": given[: subject.fewest - 1],
    }
    for what, few in unfit.items():
        try:
            subject.weights(few)
        except FusionError:
            continue
        return f"{what} make a model, where FusionError is due"
    return ""


def _takes_stale_updates(subject: Subject) -> str:
    """Of an asynchronous rule, which may also see a device twice."""
    if not subject.strategy.is_asynchronous:
        return ""
    given = subject.updates(16)
    stale = [update._replace(staleness=number) for number, update in enumerate(given)]
    twice = [*stale, given[1]]
    if not np.isfinite(subject.weights(twice)).all():
        return "the model is not finite"
    return "" if subject.bits(twice) == subject.bits(twice[::-1]) else "a device's two updates count by their arrival"


PROMISES: dict[str, Callable[[Subject], str]] = {
    "the model is a finite float32 vector of the same size": _is_vector,
    "nothing that it is given is changed": _touches_nothing,
    "it remembers in its state alone": _remembers_in_its_state_alone,
    "the model goes where all updates go": _goes_where_all_go,
    "the order of arrival does not change a bit": _ignores_arrival,
    "no device is favoured for its name": _favours_nobody,
    "only the ratio of samples matters": _ignores_scale_of_samples,
    "an update is not used after the next one was taken": _keeps_no_buffer,
    "the size of blocks changes nothing but rounding": _ignores_blocks,
    "its state survives a restart": _survives_a_restart,
    "a plan is a pure function": _plans_purely,
    "what it broadcasts is nothing, or a finite float32 vector of the same size": _broadcasts_a_vector,
    "what is not finite never passes": _lets_nothing_through,
    "too little is a FusionError": _refuses_too_few,
    "an asynchronous rule takes stale updates": _takes_stale_updates,
}
"""What is promised, and what finds it broken: the check returns what is wrong, or nothing."""
