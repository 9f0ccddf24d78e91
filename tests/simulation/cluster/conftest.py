"""Tests of engine `ray`, which `make flower` runs in an environment with Ray: elsewhere none of them is collected."""

import gc
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from simulation.cluster.entry import connect

if TYPE_CHECKING:
    from simulation.cluster.connection import Cluster

collect_ignore_glob = [] if find_spec("ray") else ["test_*.py"]
WORKERS = 2


@pytest.fixture(scope="session")
def cluster() -> Iterator["Cluster"]:
    """One of this machine alone, with WORKERS CPUs: it takes seconds to start."""
    with ExitStack() as stack:
        with _leaks():
            found = stack.enter_context(connect(None, WORKERS))
        yield found
        with _leaks():
            stack.close()


@contextmanager
def _leaks() -> Iterator[None]:
    """Ray does not close what its processes log to, nor wait for all of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()
