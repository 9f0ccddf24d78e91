"""fedloom: federated edge learning over MQTT, light, end-to-end encrypted and crash-proof.

This package is what both ends must agree on, and nothing else: the learning core, the wire, trust and links. And
`fedloom.simulate`, which belongs to the room `simulation`, and loads it when somebody asks for it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.api import simulate as simulate

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name != "simulate":
        raise AttributeError(f"module 'fedloom' has no attribute {name!r}")
    import importlib

    from fedloom.errors import InputError

    try:
        return importlib.import_module("simulation.api").simulate
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        remedy = "run: pip install 'fedloom[sim]'"
        raise InputError("fedloom.simulate", "", f"{missing} is not installed", remedy) from None
