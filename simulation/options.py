"""What a run may be asked for together: the same for the command line and for Python."""

from typing import Literal, get_args

from fedloom.errors import InputError
from simulation.broker import BrokerKind
from simulation.choice import check_choice
from simulation.cohort.kernels import Choice

Engine = Literal["cohort", "processes", "ray"]


def check_options(
    where: str,
    mark: str,
    engine: Engine,
    *,
    workers: int = 0,
    address: str | None = None,
    backend: Choice = "auto",
    processes: int = 0,
    broker: BrokerKind = "auto",
) -> None:
    """Refuse what is another engine's, and so would be ignored; `mark` is what options begin with in `where`.

    Raises:
        InputError: names the option.
    """
    check_choice(where, f"{mark}engine", engine, get_args(Engine))
    check_choice(where, f"{mark}backend", backend, get_args(Choice))
    virtual = engine != "processes"
    if processes and virtual:
        raise InputError(where, f"{mark}processes", "is of engine processes", "set simulation.clients")
    if broker != "auto" and virtual:
        raise InputError(where, f"{mark}broker", "is of engine processes", "leave it out")
    if workers and not virtual:
        raise InputError(where, f"{mark}workers", "is of engines cohort and ray", "leave it out")
    if backend != "auto" and not virtual:
        raise InputError(where, f"{mark}backend", "is of engines cohort and ray", "leave it out")
    if address and engine != "ray":
        raise InputError(where, f"{mark}address", "is of engine ray", f"set {mark}engine to ray")
