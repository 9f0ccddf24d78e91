"""The aggregator's configuration: a TOML file, with FEDLOOM_AGGREGATOR__… from the environment on top.

deploy/aggregator.toml is a commented sample of every key.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from fedloom import config
from fedloom.data.config import SourceConfig
from fedloom.errors import ConfigError
from fedloom.job import Job
from fedloom.link.config import MqttConfig, resolve
from fedloom.trust.tokens import Broker, TlsMode

CREDENTIAL_DAYS = 30
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
    history: PositiveInt = 100
    """Rounds of which the database keeps the manifest, who was invited, what each answered; else a line."""
    journal_bytes: PositiveInt = 4 * 2**30
    """All that an app was told in its run (`fedloom flower run --resume`); one that is told more goes on, but no other
    process can carry it on."""

    def rounds_kept(self, job: Job | None) -> int:
        """Of which the database keeps all: no fewer than the spool's, and those that their updates answer."""
        stale = job.asynchronous.max_staleness if job and job.asynchronous else 0
        return max(self.history, self.rounds + stale + 2)


class Pace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When devices that sleep between rounds are wanted again."""

    check_ins_per_s: Annotated[float, msgspec.Meta(gt=0.0, le=1e6)] = 20.0
    """Devices a second that may come back, on average; a larger fleet is spread out over a longer time."""


class Devices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How devices reach the broker, and how long a credential lasts; goes into join tokens and what devices get."""

    host: str = ""
    """Empty: as the aggregator does."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    """0: as the aggregator does."""
    join_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    """A listener that lets devices in without a certificate, for joining alone; 0: the same as `port`."""
    tls: TlsMode | None = None
    """`none`, `federation` (its own authority, mutual TLS) or `system`. Not set: `federation` where the aggregator has
    TLS itself, else `none`."""
    credential_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = CREDENTIAL_DAYS
    """A device's credential is renewed when two thirds of this are over."""


class AggregatorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that `fedloom aggregator run` needs; paths are relative to the file."""

    job: str
    """The job file to run."""
    broker: MqttConfig
    devices: Devices = Devices()
    state: str = "state"
    """Directory of keys, database, spool and models; for its owner alone."""
    log: Log = Log()
    limits: Limits = Limits()
    retention: Retention = Retention()
    pace: Pace = Pace()
    root_set: SourceConfig | None = None
    """Samples of the aggregator's own, for a rule that trains on them (fltrust)."""

    def devices_broker(self) -> Broker:
        """Where devices reach the broker."""
        tls = self.devices.tls or (TlsMode.FEDERATION if self.broker.tls else TlsMode.NONE)
        return Broker(self.devices.host or self.broker.host, self.devices.port or self.broker.port, tls)

    def join_broker(self) -> Broker:
        """Where devices reach it to join: the listener that a join token names."""
        broker = self.devices_broker()
        return Broker(broker.host, self.devices.join_port or broker.port, broker.tls)


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
    _check_devices(read, str(path))
    base = path.absolute().parent
    root_set = read.root_set and msgspec.structs.replace(read.root_set, path=str(base / read.root_set.path))
    read = msgspec.structs.replace(read, broker=resolve(read.broker, base), root_set=root_set)
    return Loaded(read, base / read.state, base / read.job)


def _check_devices(read: AggregatorConfig, where: str) -> None:
    """Raise ConfigError where no device could reach the broker."""
    broker = read.devices_broker()
    shares_our_port = broker.port == read.broker.port and broker.host == read.broker.host
    if shares_our_port and (broker.tls is TlsMode.NONE) == (read.broker.tls is not None):
        ours = "with TLS" if read.broker.tls else "without TLS"
        problem = f"{broker.tls.value!r}, but the aggregator reaches {broker.host}:{broker.port} {ours}"
        raise ConfigError(where, "devices.tls", problem, "name the listener for devices in devices.port")
