"""The device's configuration: a TOML file, with FEDLOOM_EDGE__… from the environment on top.

deploy/edge.toml is a commented sample of every key.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edge_client.data.config import SourceConfig
from fedloom import config
from fedloom.link.config import MqttConfig, resolve

ENVIRONMENT_PREFIX = "FEDLOOM_EDGE"
Level = Literal["debug", "info", "warning", "error"]
Bytes = Annotated[int, msgspec.Meta(ge=1024, le=2**31)]


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What goes to standard error."""

    level: Level = "info"
    json: bool = False
    """One JSON object a line."""


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds on what a federation may make this device hold; above them it declines the round."""

    max_model_bytes: Bytes = 64 * 2**20
    max_outbox_bytes: Bytes = 256 * 2**20
    """The update that waits for its receipt, with its error-feedback residual; on disk."""


class EdgeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that `fedloom-edge run` needs; paths are relative to the file."""

    broker: MqttConfig
    data: SourceConfig
    state: str = "state"
    """Directory of durable state; made if it is not there."""
    keys: str = "keys"
    """Directory of this device's keys, made by `fedloom-edge join`; what is renewed is written there."""
    log: Log = Log()
    limits: Limits = Limits()


def load_config(path: Path) -> EdgeConfig:
    """Read a configuration file, and make its paths absolute.

    Raises:
        ConfigError: it cannot be read, does not parse, or has a wrong value.
    """
    read = config.load(path, EdgeConfig, prefix=ENVIRONMENT_PREFIX)
    base = path.absolute().parent
    replace = msgspec.structs.replace
    data = replace(read.data, path=str(base / read.data.path))
    state, keys = str(base / read.state), str(base / read.keys)
    return replace(read, broker=resolve(read.broker, base), data=data, state=state, keys=keys)
