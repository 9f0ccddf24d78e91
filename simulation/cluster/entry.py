"""The way in: what is outside of this package needs no Ray to be installed."""

import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from fedloom.errors import InputError

if TYPE_CHECKING:
    from simulation.cluster.connection import Cluster

WHERE = "engine ray"
_READ_ON_IMPORT = {
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # what Ray would write to our stdout about its workers
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or it warns that it will be so
}


def connect(address: str | None, workers: int) -> "AbstractContextManager[Cluster]":
    """To the cluster at `address`, see `simulation.cluster.connection.connected`.

    Raises:
        InputError: Ray is not installed, or as there.
    """
    prepare()
    try:
        from simulation.cluster.connection import connected
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise InputError(WHERE, "", "Ray is not installed", "run: pip install 'fedloom[ray]'") from None
    return connected(address, workers)


def prepare() -> None:
    """For Ray to be imported, here and by what we start."""
    for name, value in _READ_ON_IMPORT.items():
        os.environ.setdefault(name, value)
