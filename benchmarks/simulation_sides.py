"""Who takes part in `simulation.py`, and what one of them takes for one task."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import environments
from environments import HERE
from memory import Peak
from processes import Failed, end, start

PATIENCE_S = 300.0
_SAMPLED_S = 0.2
"""Time between two looks at a side's memory: each costs some milliseconds of a processor."""
FLOWER, PFL, FEDJAX = "flwr", "pfl", "FedJAX"
NOTHING = "flwr, idle clients"


class Model(NamedTuple):
    """What is trained, and on how much by each client."""

    name: str
    widths: tuple[int, ...]
    samples: int
    batch: int

    @property
    def flop(self) -> float:
        """Of a client in a round: twice the weights forwards, again for their gradients, and for the inner inputs'."""
        products = [fan_in * fan_out for fan_in, fan_out in pairwise(self.widths)]
        return self.samples * (4.0 * sum(products) + 2.0 * sum(products[1:]))


MODELS = (
    Model("2NN", (784, 200, 200, 10), 600, 10),
    Model("64-32-10", (64, 32, 10), 20, 10),
    Model("linear", (10, 1), 20, 20),
)


class Side(NamedTuple):
    """A way to simulate, and ways to run it; the fastest of these counts."""

    name: str
    script: str
    settings: Mapping[str, Callable[[], Path]]
    """And the Python for each."""
    trains: bool = True


def _here() -> Path:
    return Path(sys.executable)


def _flower() -> Path:
    return environments.environment_of("flwr-simulation", f"flwr[simulation]=={_FLWR_VERSION}")


def _pfl() -> Path:
    return environments.environment_of("pfl", "pfl==0.6.0", "torch==2.13.0")


def _fedjax() -> Path:
    pins = ("jax==0.4.31", "jaxlib==0.4.31", "dm-haiku==0.0.12", "numpy==2.2.6", "scipy==1.15.3")
    return environments.environment_of("fedjax", "fedjax==0.0.17", *pins)


def _fedjax_new() -> Path:
    return environments.environment_of("fedjax-new", "fedjax==0.0.17", "jax==0.10.2", "dm-haiku==0.0.17")


_FLWR_VERSION = environments.PEER_REQUIREMENT.rpartition("=")[2]
_PEERS = "simulation_peers"
OURS = Side(
    "fedloom",
    "simulation_ours.py",
    {f"{count}, {backend}": _here for count in ("1 worker", "2 workers") for backend in ("numpy", "numba")},
)
SIDES = (
    OURS,
    Side(FLOWER, f"{_PEERS}/flower_side.py", {"2 actors, 0.02 s": _flower, "2 actors, 0.1 s": _flower}),
    Side(NOTHING, f"{_PEERS}/flower_side.py", {"2 actors, 0.02 s, nothing": _flower}, trains=False),
    Side(PFL, f"{_PEERS}/pfl_side.py", {"1 process": _pfl, "2 processes": _pfl}),
    Side(
        FEDJAX,
        f"{_PEERS}/fedjax_side.py",
        {"jax 0.4.31, jit": _fedjax, "jax 0.4.31, pmap": _fedjax, "jax 0.10.2, jit": _fedjax_new},
    ),
    Side("torch loop", f"{_PEERS}/torch_loop.py", {"1 process": _pfl, "2 processes": _pfl}),
    Side("numpy loop", f"{_PEERS}/numpy_loop.py", {"1 process": _here, "2 processes": _here}),
)


class Measured(NamedTuple):
    """What a side took for a task."""

    client_rounds_per_s: float
    """By its fastest round."""
    cold_s: float
    """From exec to the end of the first round, data made."""
    learnt: float
    """By how much the loss has fallen in the first round."""
    setting: str
    versions: dict[str, str]
    core: str
    """Kernels that OpenBLAS has chosen."""
    peak_mib: float
    """Of the memory of all its processes, shared pages counted once."""


def measure(side: Side, setting: str, model: Model, clients: int, seconds: float) -> Measured:
    """In fresh processes.

    Raises:
        Failed: it has not brought any figures.
    """
    task = {"widths": model.widths, "samples": model.samples, "batch": model.batch, "clients": clients}
    given = json.dumps(task | {"seconds": seconds, "setting": setting})
    found, peak_mib = run([str(side.settings[setting]()), str(HERE / side.script), given])
    names = ("client_rounds_per_s", "cold_s", "learnt", "setting", "versions", "core")
    return Measured(**{name: found[name] for name in names}, peak_mib=peak_mib)


def run(command: list[str]) -> tuple[dict[str, Any], float]:
    """The JSON that ends what a process prints, and its peak of memory in MiB, with all that it starts.

    Raises:
        Failed: there is none.
    """
    with tempfile.TemporaryDirectory(prefix="fedloom-simulation-") as directory:
        process = start(command, Path(directory) / Path(command[1]).name, stdout=subprocess.PIPE)
        try:
            with Peak(process.pid, _SAMPLED_S) as peak:
                said, _ = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"longer than {PATIENCE_S:.0f} s: {command[2]}") from None
        finally:
            end([process])
        lines = [line for line in said.decode().splitlines() if line.startswith("{")]
        if process.returncode or not lines:
            raise Failed(f"{command[2]}: {process.last_words()}")
    return json.loads(lines[-1]), peak.memory.proportional
