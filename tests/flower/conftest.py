"""Tests beside Flower, which `make flower` runs in an environment with flwr: elsewhere none of them is collected."""

import gc
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

collect_ignore_glob = [] if find_spec("flwr") else ["test_*.py"]


@pytest.fixture(autouse=True)
def _frozen() -> Iterator[None]:
    """flwr collects garbage after each reply, and looks at all that was imported each time: 7 s a test of QFedAvg."""
    gc.freeze()
    yield
    gc.unfreeze()
