"""Finds the strategy that a job names, and checks the job's options against its constructor."""

import importlib
import inspect
import logging
import typing
from collections.abc import Mapping
from typing import Any

import flwr.serverapp.strategy as theirs
import msgspec
from flwr.serverapp.strategy import Strategy

from fedloom.errors import ConfigError
from fedloom.learning.layout import Layout
from fedloom.learning.plan import TrainPlan
from fedloom.suggest import closest
from strategies.base import FusionError
from strategies.flower.memory import capture
from strategies.flower.rule import FlowerRule, FlowerState

KNOWN = tuple(
    name
    for name, kind in vars(theirs).items()
    if inspect.isclass(kind)
    and issubclass(kind, Strategy)
    and not inspect.isabstract(kind)
    and not name.startswith(("FedXgb", "DifferentialPrivacy"))
)
"""Left out are those that grow trees, which are no arrays of weights, and those that wrap another strategy."""

_SCALARS = (bool, int, float, str)
_OURS = {
    **dict.fromkeys(("fraction_train", "min_train_nodes", "min_available_nodes"), "rounds.cohort and rounds.quorum"),
    **dict.fromkeys(("fraction_evaluate", "min_evaluate_nodes"), "rounds.evaluate"),
}
"""Options that the job decides elsewhere."""


def create(name: str, options: Mapping[str, bool | int | float | str], layout: Layout | None, where: str) -> FlowerRule:
    """`FedAdam`, or `package.module:Class` of one's own.

    Raises:
        ConfigError: there is no such strategy, it has no such option, or it needs what a job cannot give.
    """
    _quiet()
    kind = _find(name, where)
    checked = _check(kind, options, where)
    rule = FlowerRule(lambda: kind(**checked), layout)
    try:
        made = rule.make()
        capture(made, vars(made))
        rule.planned(TrainPlan(loss="mse"), FlowerState())
    except FusionError as error:
        raise ConfigError(where, "strategy.name", str(error), "see docs/flower.md") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a constructor of others may raise anything
        problem = f"{kind.__name__} does not take them: {type(error).__name__}: {error}"
        raise ConfigError(where, "strategy.options", problem, "see its documentation") from None
    return rule


def _quiet() -> None:
    """flwr's warnings go where ours go, without colours; its progress would be told twice."""
    logger = logging.getLogger("flwr")
    logger.setLevel(logging.WARNING)
    logger.handlers.clear()
    logger.propagate = True


def _find(name: str, where: str) -> type[Any]:
    if ":" not in name:
        if name not in KNOWN:
            close = closest(name, KNOWN)
            hint = f"did you mean 'flwr:{close}'?" if close else f"known are {', '.join(sorted(KNOWN))}"
            raise ConfigError(where, "strategy.name", f"flwr has no strategy {name!r} that a job can use", hint)
        return getattr(theirs, name)  # type: ignore[no-any-return]  # KNOWN has those alone
    module, _, attribute = name.partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        remedy = "install its package into the aggregator's environment, or put it on PYTHONPATH"
        raise ConfigError(where, "strategy.name", f"{name!r} cannot be imported ({error})", remedy) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001  # importing a module runs it
        problem = f"{name!r} cannot be imported ({type(error).__name__}: {error})"
        raise ConfigError(
            where, "strategy.name", problem, "name it package.module:Class, and repair the module"
        ) from None
    if not (inspect.isclass(kind) and issubclass(kind, Strategy)):
        problem = f"{name!r} is no flwr.serverapp.strategy.Strategy"
        raise ConfigError(where, "strategy.name", problem, "derive it from one")
    return kind


def _check(kind: type[Any], options: Mapping[str, object], where: str) -> dict[str, object]:
    """The options as the constructor wants them: `eta = 1` is 1.0 for a float."""
    parameters, hints = _parameters(kind)
    checked = {name: _convert(name, value, parameters, hints, where) for name, value in options.items()}
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in options:
            raise ConfigError(where, f"strategy.options.{name}", f"is missing: {kind.__name__} needs it", "set it")
    return checked


def _convert(
    name: str, value: object, parameters: Mapping[str, inspect.Parameter], hints: Mapping[str, object], where: str
) -> object:
    key = f"strategy.options.{name}"
    if name in _OURS:
        raise ConfigError(where, key, f"a job says that with {_OURS[name]}", "leave it out")
    if name not in parameters:
        known = parameters.keys() - _OURS.keys()
        close = closest(name, known)
        hint = f"did you mean {close!r}?" if close else f"options here are {', '.join(sorted(known)) or 'none'}"
        raise ConfigError(where, key, "is not an option of this strategy", hint)
    hint_type = hints.get(name)
    if hint_type is None:
        return value
    if not {*(typing.get_args(hint_type) or (hint_type,))} & {*_SCALARS}:
        remedy = "set it in a class of your own, named as flwr:package.module:Class"
        raise ConfigError(where, key, "takes code, which a job file does not hold", remedy)
    try:
        return msgspec.convert(value, hint_type)
    except msgspec.ValidationError as error:
        raise ConfigError(where, key, str(error), "see the strategy's documentation") from None


def _parameters(kind: type[Any]) -> tuple[dict[str, inspect.Parameter], dict[str, object]]:
    """By name, and their types; those of the classes above as far as `**kwargs` hands options on to them."""
    parameters: dict[str, inspect.Parameter] = {}
    hints: dict[str, object] = {}
    for above in kind.__mro__:
        if "__init__" not in vars(above):
            continue
        constructor = vars(above)["__init__"]
        own = list(inspect.signature(constructor).parameters.values())[1:]
        named = [each for each in own if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
        hints = typing.get_type_hints(constructor) | hints
        parameters = {each.name: each for each in named} | parameters
        if not any(each.kind is each.VAR_KEYWORD for each in own):
            break
    return parameters, hints
