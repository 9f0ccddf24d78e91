"""Fusion rules by name: pure functions on weight vectors, one file and one paper each."""

import msgspec

from fedloom.errors import ConfigError
from fedloom.job import StrategyChoice
from fedloom.suggest import closest
from strategies.base import ClientUpdate, Fused, FusionError, State, Strategy, Updates, UpdatesInMemory
from strategies.fedavg import FedAvg
from strategies.fedbuff import FedBuff

__all__ = ["ClientUpdate", "Fused", "FusionError", "State", "Strategy", "Updates", "UpdatesInMemory", "create"]

_BY_NAME: dict[str, type[FedAvg] | type[FedBuff]] = {"fedavg": FedAvg, "fedbuff": FedBuff}


def create(choice: StrategyChoice, where: str, is_asynchronous: bool = False) -> Strategy:
    """The rule that a job names, with the job's options.

    Raises:
        ConfigError: no such rule, or it has no such option; or the job is asynchronous, and the rule is not for that.
    """
    kind = _BY_NAME.get(choice.name)
    if kind is None:
        close = closest(choice.name, _BY_NAME)
        hint = f"did you mean {close!r}?" if close else f"known strategies are {', '.join(_BY_NAME)}"
        raise ConfigError(where, "strategy.name", f"{choice.name!r} is not a strategy", hint)
    if is_asynchronous and not kind.is_asynchronous:
        able = ", ".join(name for name, each in _BY_NAME.items() if each.is_asynchronous)
        problem = f"{choice.name!r} knows nothing of stale updates, which an [asynchronous] job has"
        raise ConfigError(where, "strategy.name", problem, f"set it to {able}, or leave [asynchronous] out")
    try:
        return msgspec.convert(choice.options, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(where, "strategy.options", str(error), f"see docs/job.md for {choice.name}") from None
