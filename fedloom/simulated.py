"""`[simulation]` of a job: which data a simulated fleet has, how it is dealt out, and what its devices are like.

A fleet of real devices ignores it. What it says is done in the room `simulation`.
"""

from typing import Annotated, Literal

import msgspec

from fedloom.errors import ConfigError
from fedloom.simulated_world import Attack, Devices, check_devices

MAX_CLIENTS = 10_000_000
MIN_ALPHA = 1e-6
"""Of a Dirichlet distribution; from here on down floating-point numbers do not tell much."""
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_CLIENTS)]
"""0 is not set."""
Method = Literal["iid", "shards", "dirichlet", "quantity", "features", "key"]


class Partition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which client has which rows of the data set. An option that is zero or empty is not set."""

    method: Method = "iid"
    """`iid`: at random, equally many; the others make clients differ, each in its way."""
    alpha: Annotated[float, msgspec.Meta(ge=0.0, le=1e9)] = 0.0
    """`dirichlet`, `quantity`: concentration of the Dirichlet distribution; the smaller, the more uneven. 0 is 0.5."""
    balanced: bool = False
    """`dirichlet`: the mixtures of classes differ, the number of samples does not."""
    min_samples: Count = 0
    """`dirichlet`, `quantity`: that each client has at least, hold-out included. 0 is 1."""
    shards: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    """`shards`: pieces of the data, sorted by class, that each client gets. 0 is 2."""
    noise: Annotated[float, msgspec.Meta(ge=0.0, le=1e6)] = 0.0
    """`features`: variance of the Gaussian noise on the last client's features; the first has next to none."""
    rotation: Annotated[float, msgspec.Meta(ge=0.0, le=360.0)] = 0.0
    """`features`: degrees by which the last client's images are turned; the first's hardly are."""
    key: str = ""
    """`key`: the column of which each value is a client."""

    @property
    def concentration(self) -> float:
        """`alpha`, with its default in the place of 0."""
        return self.alpha or 0.5

    @property
    def fewest(self) -> int:
        """`min_samples`, likewise."""
        return self.min_samples or 1

    @property
    def pieces(self) -> int:
        """`shards`, likewise."""
        return self.shards or 2


class Simulation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fleet that there is not."""

    dataset: str = ""
    """A name from the catalogue, or a file or folder beside the job; empty: the data files beside the job, each a
    client."""
    clients: Count = 0
    """How many; not set with partition `key`, and not needed where each file is a client: the first so many, or all."""
    samples: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    """Of each client (on average, where the partition makes sizes differ), hold-out included, drawn with replacement,
    so that there may be more clients than samples; 0: every sample is dealt out once."""
    test_fraction: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.0
    """Share of the samples that no client gets and the global model is tested on; 0 where a data set has its own."""
    partition: Partition = Partition()
    devices: Devices | None = None
    """Not set: everybody is always there and takes no time."""
    attack: Attack | None = None
    """Not set: everybody is honest."""


OPTIONS: dict[str, tuple[Method, ...]] = {
    "alpha": ("dirichlet", "quantity"),
    "balanced": ("dirichlet",),
    "min_samples": ("dirichlet", "quantity"),
    "shards": ("shards",),
    "noise": ("features",),
    "rotation": ("features",),
    "key": ("key",),
}
"""Which methods have an option."""


def check_simulation(simulation: Simulation, where: str) -> None:
    """Refuse what each key allows by itself but not together; `where` names the job's file.

    Raises:
        ConfigError: names the key.
    """
    partition = simulation.partition
    for option, methods in OPTIONS.items():
        if getattr(partition, option) and partition.method not in methods:
            fitting = " or ".join(f"{method!r}" for method in methods)
            problem = f"is no option of method {partition.method!r}"
            remedy = f"leave it out, or set simulation.partition.method to {fitting}"
            raise ConfigError(where, f"simulation.partition.{option}", problem, remedy)
    if 0.0 < partition.alpha < MIN_ALPHA:
        problem = f"{partition.alpha:g} is next to nothing"
        raise ConfigError(where, "simulation.partition.alpha", problem, "set it to 0.001: next to one class a client")
    if partition.method == "features" and not (partition.noise or partition.rotation):
        problem = "says that features differ, but not how"
        raise ConfigError(where, "simulation.partition.method", problem, "set noise or rotation in the same table")
    if partition.method == "key":
        _check_key(simulation, where)
    if not simulation.dataset:
        check_files(simulation, where)
    if simulation.devices:
        check_devices(simulation.devices, where)


def _check_key(simulation: Simulation, where: str) -> None:
    if not simulation.partition.key:
        problem = "method 'key' needs the name of a column"
        raise ConfigError(where, "simulation.partition.key", problem, "set it, as in key = 'user'")
    for option in ("clients", "samples"):
        if getattr(simulation, option):
            problem = "is what the key column says, with partition method 'key'"
            raise ConfigError(where, f"simulation.{option}", problem, "leave it out")


def check_files(simulation: Simulation, where: str) -> None:
    """Refuse what has no meaning where each data file is a client.

    Raises:
        ConfigError: names the key.
    """
    if simulation.partition != Partition():
        problem = "each data file is a client already, so there is nothing to deal out"
        raise ConfigError(
            where, "simulation.partition", problem, "leave it out, or name a data set: dataset = 'digits'"
        )
    for option in ("samples", "test_fraction"):
        if getattr(simulation, option):
            problem = "is of no use where each data file is a client"
            remedy = (
                "leave it out (each client holds out data.holdout.fraction), or name a data set: dataset = 'digits'"
            )
            raise ConfigError(where, f"simulation.{option}", problem, remedy)
