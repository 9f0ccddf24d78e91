"""The aggregator's configuration: a TOML file, with FEDLOOM_AGGREGATOR__… from the environment on top.

deploy/aggregator.toml is a commented sample of every key.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from fedloom import config
from fedloom.link.config import MqttConfig, resolve

ENVIRONMENT_PREFIX = "FEDLOOM_AGGREGATOR"
PositiveInt = Annotated[int, msgspec.Meta(ge=1)]


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What goes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "warning"


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds on what devices may make the aggregator hold."""

    max_update_bytes: Annotated[int, msgspec.Meta(ge=1024, le=2**31)] = 64 * 2**20
    """An update's whole envelope; also bounded by what the job's model and encoding need."""
    max_transfer_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 512 * 2**20
    """Frames of updates that are not complete yet, over all devices."""


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stays on disk."""

    models: PositiveInt = 5
    """Newest model versions of a job; the best one stays as well."""
    rounds: PositiveInt = 3
    """Rounds whose updates stay in the spool, so that a fusion can be recomputed."""


class AggregatorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that `fedloom aggregator run` needs; paths are relative to the file."""

    job: str
    """The job file to run."""
    broker: MqttConfig
    state: str = "state"
    """Directory of keys, database, spool and models; for its owner alone."""
    log: Log = Log()
    limits: Limits = Limits()
    retention: Retention = Retention()


class Loaded(msgspec.Struct, frozen=True):
    """A configuration whose paths are resolved."""

    config: AggregatorConfig
    state: Path
    job: Path


def load_config(path: Path) -> Loaded:
    """Read a configuration file.

    Raises:
        ConfigError: it cannot be read, does not parse, or has a wrong value.
    """
    read = config.load(path, AggregatorConfig, prefix=ENVIRONMENT_PREFIX)
    base = path.absolute().parent
    read = msgspec.structs.replace(read, broker=resolve(read.broker, base))
    return Loaded(read, base / read.state, base / read.job)
