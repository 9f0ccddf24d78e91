"""Fusion rules by name: ours, and those that installed packages bring (entry points of the group below).

A job's `strategy.options` is one flat table: each part of the rule takes the options that it has, so that two parts
which both need `f`, the number of attackers, are told once.
"""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from fedloom.config import convert
from fedloom.errors import ConfigError
from fedloom.job import Job
from fedloom.job.choices import StrategyChoice
from fedloom.learning.layout import Layout
from fedloom.learning.plan import TrainPlan
from fedloom.suggest import closest
from strategies.base import PlanError, Strategy
from strategies.bucketing import Bucketing
from strategies.bulyan import Bulyan
from strategies.centred_clipping import CentredClipping
from strategies.composed import Composed
from strategies.fedasync import MixedIn
from strategies.fedavg import Mean, Sgd
from strategies.fedavgm import Momentum
from strategies.fedbuff import Buffered
from strategies.feddyn import FedDyn
from strategies.fedexp import Extrapolated
from strategies.fednova import CountedSteps, Normalised
from strategies.fedopt import Adagrad, Adam, Yogi
from strategies.fedprox import Proximal
from strategies.fltrust import FLTrust
from strategies.following import Following
from strategies.geometric_median import GeometricMedian
from strategies.krum import Krum, MultiKrum
from strategies.nearest_neighbour_mixing import NearestNeighbourMixing
from strategies.norm_clipping import ClipNorm, NormClipping
from strategies.qfedavg import Fair, MeasuredLoss
from strategies.scaffold import Scaffold
from strategies.trimmed_mean import Median, TrimmedMean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

FLOWER = "flwr:"
"""Begins the name of a strategy of Flower: `flwr:FedAdam`, or `flwr:package.module:Class`."""
ENTRY_POINTS = "fedloom.strategies"
"""Each names a Struct: a whole `Strategy`, or the `Combine` of a composed one."""

_OF_A_STRATEGY = ("is_asynchronous", "initial_state", "plan", "broadcast", "fuse")
_OTHER_VERSION = "install a version of its package that fits fedloom"


class Recipe(NamedTuple):
    """A composed rule under a name of its own; a Struct type each."""

    combine: type[Any]
    server: type[Any] = Sgd
    local: type[Any] | None = None


COMPOSED: dict[str, Recipe] = {
    "fedavg": Recipe(Mean),
    "fedavgm": Recipe(Mean, Momentum),
    "fedadagrad": Recipe(Mean, Adagrad),
    "fedadam": Recipe(Mean, Adam),
    "fedyogi": Recipe(Mean, Yogi),
    "fedexp": Recipe(Extrapolated),
    "fednova": Recipe(Normalised, local=CountedSteps),
    "qfedavg": Recipe(Fair, local=MeasuredLoss),
    "fedbuff": Recipe(Buffered),
    "fedasync": Recipe(MixedIn),
    "fedprox": Recipe(Mean, local=Proximal),
    "bulyan": Recipe(Bulyan),
    "centred_clipping": Recipe(CentredClipping),
    "fltrust": Recipe(FLTrust),
    "geometric_median": Recipe(GeometricMedian),
    "krum": Recipe(Krum),
    "median": Recipe(Median),
    "multi_krum": Recipe(MultiKrum),
    "norm_clipping": Recipe(NormClipping),
    "trimmed_mean": Recipe(TrimmedMean),
}
WHOLE: dict[str, type[Any]] = {"feddyn": FedDyn, "scaffold": Scaffold}
"""Rules that are not composed, because they touch what the devices do as well."""
SERVERS: dict[str, type[Any]] = {
    "sgd": Sgd,
    "momentum": Momentum,
    "adagrad": Adagrad,
    "adam": Adam,
    "yogi": Yogi,
}
"""Server optimisers, for `strategy.server`."""
BEFORE: dict[str, type[Any]] = {
    "bucketing": Bucketing,
    "clip_norm": ClipNorm,
    "nearest_neighbour_mixing": NearestNeighbourMixing,
}
"""Pre-steps, for `strategy.before`."""
ROBUST = StrategyChoice("centred_clipping", before=("clip_norm", "bucketing"))
"""What `robust = true` stands for, as docs/decisions/0016-the-robust-default.md has found."""


def names() -> list[str]:
    """All rules that are here, those of other packages included."""
    return sorted({*COMPOSED, *WHOLE, *(point.name for point in _of_packages())})


def create(choice: StrategyChoice, where: str, is_asynchronous: bool = False, layout: Layout | None = None) -> Strategy:
    """The rule that a job names, with the job's options; `layout` is that of its model, for rules that look at tensors.

    Raises:
        ConfigError: no such rule, or it has no such option; or the job is asynchronous, and the rule is not for that.
    """
    _refuse_infinite(choice.options, where)
    choice = _robust(choice, where) if choice.robust else choice
    strategy = _flower(choice, where, layout) if choice.name.startswith(FLOWER) else _build(choice, where)
    if is_asynchronous and not strategy.is_asynchronous:
        raise _not_for_stale_updates(choice, strategy, where)
    return strategy


def _refuse_infinite(options: Mapping[str, object], where: str) -> None:
    for name, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):  # in the range of its field, as infinity is in many
            raise ConfigError(where, f"strategy.options.{name}", f"is {value}", "set it to a number")


def _not_for_stale_updates(choice: StrategyChoice, strategy: Strategy, where: str) -> ConfigError:
    """Names the part that is not."""
    stale = "knows nothing of stale updates, which an [asynchronous] job has"
    able = ", ".join(name for name, recipe in COMPOSED.items() if recipe.combine.is_asynchronous)
    if choice.robust:
        remedy = f"leave it out and set strategy.name to {able}, or leave [asynchronous] out"
        return ConfigError(where, "strategy.robust", f"true {stale}", remedy)
    if isinstance(strategy, Composed) and strategy.combine.is_asynchronous:
        fit = ", ".join(name for name, kind in BEFORE.items() if kind.is_asynchronous)
        unfit = ", ".join(repr(name) for name in choice.before if not BEFORE[name].is_asynchronous)
        return ConfigError(where, "strategy.before", f"{unfit} {stale}", f"take {fit}, or leave it out")
    remedy = f"set it to {able}, or leave [asynchronous] out"
    return ConfigError(where, "strategy.name", f"{choice.name!r} {stale}", remedy)


def _robust(choice: StrategyChoice, where: str) -> StrategyChoice:
    """The choice that `robust = true` stands for, with the server and the options of the job."""
    for key in ("name", "before"):
        if getattr(choice, key) != getattr(StrategyChoice(), key):
            problem = f"{getattr(choice, key)!r} beside robust = true, which is a choice of its own"
            raise ConfigError(where, f"strategy.{key}", problem, "leave one of the two out")
    return msgspec.structs.replace(choice, name=ROBUST.name, before=ROBUST.before)


def needs_root_set(job: Job, where: str) -> bool:
    """Whether its rule compares updates with one that the aggregator has trained itself, `Updates.trusted`.

    Raises:
        ConfigError: see `create`.
    """
    return bool(getattr(_of(job, where), "needs_root_set", False))


def names_with_root_set() -> list[str]:
    """The rules of which `needs_root_set` is true; other packages may have more."""
    return [name for name, recipe in COMPOSED.items() if getattr(recipe.combine, "needs_root_set", False)]


def create_for(job: Job, where: str) -> Strategy:
    """The rule of a job, which can work with the rest of it.

    Raises:
        ConfigError: see `create`; or it cannot.
    """
    strategy = _of(job, where)
    plan = _checked_plan(strategy, job, where)
    if isinstance(strategy, Composed):
        _check_enough(strategy.fewest, job, where)
    if job.shared_layout != job.model.layout() and (why := _needs_a_whole_model(strategy, plan)):
        problem = f"'head' leaves weights on the devices; {job.strategy.name!r} {why}"
        raise ConfigError(where, "personal.method", problem, "choose 'ditto', or another strategy.name")
    return strategy


def _of(job: Job, where: str) -> Strategy:
    return create(job.strategy, where, job.asynchronous is not None, job.shared_layout)


def _checked_plan(strategy: Strategy, job: Job, where: str) -> TrainPlan:
    """Of the first round."""
    try:
        plan: object = first_plan(strategy, job)
    except PlanError as error:
        raise ConfigError(where, error.key, error.problem, error.remedy) from None
    except Exception as error:  # a package of others may raise anything
        if job.strategy.name in {*COMPOSED, *WHOLE}:
            raise
        raise _broken(job, f"cannot begin ({type(error).__name__}: {error})", where) from error
    if isinstance(plan, TrainPlan):
        return plan
    raise _broken(job, f"has a {type(plan).__name__} for a plan, and no TrainPlan", where)


def _broken(job: Job, problem: str, where: str) -> ConfigError:
    return ConfigError(where, "strategy.name", f"{job.strategy.name!r} {problem}", _OTHER_VERSION)


def _check_enough(fewest: int, job: Job, where: str) -> None:
    """Refuse a rule that cannot make a model of what the devices bring that the job starts with."""
    rounds, options = job.rounds, job.strategy.options
    told = ", ".join(f"{name} = {value}" for name, value in options.items()) or "its defaults"
    needs = f"and {job.strategy.name!r} with {told} needs {fewest}"
    if job.asynchronous and job.asynchronous.buffer < fewest:
        problem = f"{job.asynchronous.buffer} updates are fused at once, {needs}"
        raise ConfigError(where, "asynchronous.buffer", problem, f"raise it to {fewest}, or change strategy.options")
    if rounds.most < fewest:
        problem = f"{rounds.devices} bring {rounds.most} updates to a round, {needs}"
        devices = math.floor((fewest - 1) / rounds.cohort + 1e-9) + 1
        remedy = f"raise it to {devices} with this rounds.cohort, or change strategy.options"
        raise ConfigError(where, "rounds.devices", problem, remedy)


def _needs_a_whole_model(strategy: Strategy, plan: TrainPlan) -> str:
    """Why the rule does not go with weights that stay on the devices; empty where it does."""
    if plan.correction != "none":
        return "corrects the training of all of them"
    if getattr(strategy, "needs_root_set", False):  # its update soon points anywhere: honest ones lose their say
        return "would compare updates with one that is trained under a head that nobody trains"
    return ""


def first_plan(strategy: Strategy, job: Job) -> TrainPlan:
    """What the devices do in the first round; what they send and are sent is the same in each.

    Raises:
        PlanError: the rule cannot work with the job's own plan.
    """
    return strategy.plan(1, job.training, strategy.initial_state(job.shared_layout.size))


def _build(choice: StrategyChoice, where: str) -> Strategy:
    whole = WHOLE.get(choice.name)
    recipe = COMPOSED.get(choice.name)
    if whole is None and recipe is None:
        found = _installed(choice.name, where)
        whole, recipe = (None, Recipe(found)) if hasattr(found, "combine") else (found, None)
    if recipe is None:
        _refuse_parts(choice, where)
        (made,) = _make([whole], choice.options, where)
        return made  # type: ignore[no-any-return]  # the contract suite holds it to the protocol
    server = _named(choice.server, SERVERS, "strategy.server", where) if choice.server else recipe.server
    before = [_named(name, BEFORE, "strategy.before", where) for name in choice.before]
    _refuse_mixing(choice, recipe, where)
    local = [recipe.local] if recipe.local else []
    combine, made_server, *rest = _make([recipe.combine, server, *before, *local], choice.options, where)
    kind = Following if hasattr(combine, "combine_after") else Composed
    return kind(combine, made_server, tuple(rest[: len(before)]), rest[-1] if local else None)


def _refuse_parts(choice: StrategyChoice, where: str) -> None:
    for key, value in (("server", choice.server), ("before", choice.before)):
        if value:
            problem = f"{choice.name!r} is a rule of its own, which nothing can be put together with"
            raise ConfigError(where, f"strategy.{key}", problem, "leave it out")


def _refuse_mixing(choice: StrategyChoice, recipe: Recipe, where: str) -> None:
    """A mixture of updates is nobody's: it tells of no steps and no loss."""
    needed = getattr(recipe.combine, "needs_of_each", "")
    for name in choice.before:
        if needed and getattr(BEFORE[name], "mixes", False):
            problem = f"{name!r} hands on mixtures of updates, and {choice.name!r} needs the {needed} of each"
            raise ConfigError(where, "strategy.before", problem, "leave it out, or take another strategy.name")


def _flower(choice: StrategyChoice, where: str, layout: Layout | None) -> Strategy:
    _refuse_parts(choice, where)
    try:
        from strategies import flower  # flwr is an extra
    except ModuleNotFoundError:
        problem = f"{choice.name!r} needs flwr, which is not installed"
        raise ConfigError(where, "strategy.name", problem, "run: pip install 'fedloom[flower]'") from None
    return flower.create(choice.name.removeprefix(FLOWER), choice.options, layout, where)


def _of_packages() -> "EntryPoints":
    from importlib.metadata import entry_points  # it takes a tenth of the time that a simulation takes to import

    return entry_points(group=ENTRY_POINTS)


def _installed(name: str, where: str) -> type[Any]:
    for point in _of_packages().select(name=name):
        try:
            found = point.load()
        except Exception as error:  # noqa: BLE001  # a package of others may raise anything while it is imported
            problem = f"{point.value} of {name!r} cannot be imported ({type(error).__name__}: {error})"
            raise ConfigError(where, "strategy.name", problem, "install its package again") from None
        if not (isinstance(found, type) and issubclass(found, msgspec.Struct)):
            problem = f"{point.value} of {name!r} is not a msgspec.Struct"
            raise ConfigError(where, "strategy.name", problem, _OTHER_VERSION)
        needed = ("is_asynchronous",) if hasattr(found, "combine") else _OF_A_STRATEGY
        if lacking := [each for each in needed if not hasattr(found, each)]:
            problem = f"{point.value} of {name!r} has no {', '.join(lacking)}"
            raise ConfigError(where, "strategy.name", problem, _OTHER_VERSION)
        return found
    return _named(name, dict.fromkeys(names(), object), "strategy.name", where)


def _named(name: str, known: Mapping[str, type[Any]], key: str, where: str) -> type[Any]:
    kind = known.get(name)
    if kind is None:
        close = closest(name, known)
        hint = f"did you mean {close!r}?" if close else f"known are {', '.join(sorted(known)) or 'none'}"
        raise ConfigError(where, key, f"{name!r} is not known here", hint)
    return kind


def _make(kinds: Iterable[type[Any] | None], options: Mapping[str, Any], where: str) -> list[Any]:
    """One of each kind, with those of the options that it has."""
    wanted = [kind for kind in kinds if kind is not None]
    fields = {field.encode_name: kind for kind in wanted for field in msgspec.structs.fields(kind)}
    for name in options:
        if name not in fields:
            close = closest(name, fields)
            hint = f"did you mean {close!r}?" if close else f"options here are {', '.join(sorted(fields)) or 'none'}"
            raise ConfigError(where, f"strategy.options.{name}", "is not an option of this strategy", hint)
    made = []
    for kind in wanted:
        own = {field.encode_name for field in msgspec.structs.fields(kind)}
        given = {key: value for key, value in options.items() if key in own}
        made.append(convert(given, kind, where, "strategy.options"))
    return made
