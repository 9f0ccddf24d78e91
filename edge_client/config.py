"""The device's configuration: a TOML file, with FEDLOOM_EDGE__… from the environment on top.

deploy/edge.toml is a commented sample of every key.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from fedloom import config
from fedloom.data.config import SourceConfig
from fedloom.errors import ConfigError
from fedloom.link.config import MqttConfig, resolve
from fedloom.wire.chunks import MAX_FRAME

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
    """The update that waits for its receipt, with its error-feedback residual or an app's context; on disk."""
    max_frame_bytes: Annotated[int, msgspec.Meta(ge=1024, le=MAX_FRAME)] = MAX_FRAME
    """A larger update travels in pieces of this size; smaller ones where the link is too slow, or too often cut, for
    one to get through."""
    max_outbox_age_s: Annotated[float, msgspec.Meta(ge=60.0, le=31_622_400.0)] = 604_800.0
    """How long it waits; then it is given up. No round lasts longer than a week."""


class Power(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What this device may do to save energy."""

    sleep_between_rounds: bool = False
    """Leave the broker when the aggregator does not want this device for a while, and come back by itself in time."""


class Flower(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The Flower ClientApp that answers exchanges. It is this device's own code, and comes from nowhere else."""

    app: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*\Z")]
    """`package.module:attribute`, as in the app's pyproject.toml."""
    directory: str = "."
    """Where the package is; it also is the app's working directory."""
    node_config: dict[str, bool | int | float | str] = {}
    """What the app finds in `context.node_config`."""
    idle_s: Annotated[float, msgspec.Meta(ge=1.0, le=86_400.0)] = 300.0
    """The app's process ends when it has had nothing to do for so long; the next request starts it again."""


class EdgeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that `fedloom-edge run` needs; paths are relative to the file."""

    broker: MqttConfig
    data: SourceConfig | None = None
    """Not set: this device declines training and evaluation, and answers with its Flower app alone."""
    state: str = "state"
    """Directory of durable state; made if it is not there."""
    keys: str = "keys"
    """Directory of this device's keys, made by `fedloom-edge join`; what is renewed is written there."""
    log: Log = Log()
    limits: Limits = Limits()
    power: Power = Power()
    flower: Flower | None = None
    """Not set: this device declines exchanges."""


def load_config(path: Path) -> EdgeConfig:
    """Read a configuration file, and make its paths absolute.

    Raises:
        ConfigError: it cannot be read, does not parse, or has a wrong value.
    """
    read = config.load(path, EdgeConfig, prefix=ENVIRONMENT_PREFIX)
    base = path.absolute().parent
    replace = msgspec.structs.replace
    if read.data is None and read.flower is None:
        raise ConfigError(str(path), "data", "is not there", "add [data], or [flower] for a Flower app")
    data = read.data and replace(read.data, path=str(base / read.data.path))
    state, keys = str(base / read.state), str(base / read.keys)
    flower = read.flower and replace(read.flower, directory=str(base / read.flower.directory))
    return replace(read, broker=resolve(read.broker, base), data=data, state=state, keys=keys, flower=flower)
