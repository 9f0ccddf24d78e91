"""Which walker trains a plan's groups, by what the products are computed with."""

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal

from numpy.typing import DTypeLike

from fedloom.errors import FedloomError
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from simulation.cohort.affine import is_affine
from simulation.cohort.blocked import Blocked
from simulation.cohort.shards import Converted
from simulation.cohort.steps import StepByStep, Walker
from simulation.cohort.torch_steps import Tensors, TorchSteps

Backend = Literal["numpy", "numba", "torch"]
"""numba: a compiled kernel, one client after the other; torch takes a GPU where there is one."""
Choice = Literal["auto", "numpy", "numba", "torch"]
"""auto: numba where it is worth it and can be loaded, else numpy."""
EXTRAS: dict[Backend, str] = {"numba": "sim", "torch": "torch"}
"""Of fedloom, which bring what they need."""
MakeWalker = Callable[[int, int], Walker]
"""Of a number of clients and of rows a batch."""
_COMPILED = "simulation.cohort.compiled.walker"
_CANNOT_LOAD = ImportError, OSError
"""The latter of LLVM's shared library."""


def kernel(backend: Backend, spec: ModelSpec, plan: TrainPlan, dtype: DTypeLike) -> MakeWalker:
    """Makes walkers that share what they make of the samples.

    Raises:
        FedloomError: what the backend needs is not installed.
    """
    match backend:
        case "numpy":
            kind = Blocked if is_affine(plan) else StepByStep
            return lambda clients, batch: kind(spec, plan, clients, batch, dtype)
        case "numba":
            return _compiled(spec, plan, dtype)
        case "torch":
            tensors = Tensors(dtype)
            return lambda clients, batch: TorchSteps(spec, plan, clients, batch, tensors)


def can_load_compiled() -> bool:
    """Whether numba is installed and can be loaded: it refuses releases of numpy that are newer than itself."""
    if find_spec("numba") is None:
        return False
    try:
        importlib.import_module(_COMPILED)
    except _CANNOT_LOAD:
        return False
    return True


def _compiled(spec: ModelSpec, plan: TrainPlan, dtype: DTypeLike) -> MakeWalker:
    try:
        from simulation.cohort.compiled.sparse import pool_of  # takes a third of a second, and numba
        from simulation.cohort.compiled.walker import Compiled
    except _CANNOT_LOAD as error:
        remedy = "install it with pip install 'fedloom[sim]', or take the backend numpy"
        raise FedloomError(f"the backend 'numba' cannot be loaded ({error}); {remedy}") from None
    pools = Converted(pool_of)
    return lambda clients, batch: Compiled(spec, plan, clients, batch, dtype, pools)
