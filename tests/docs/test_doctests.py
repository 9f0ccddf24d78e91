"""The examples in docstrings are true."""

import doctest
import importlib
from pathlib import Path

import pytest
import tracked

ROOMS = ("fedloom", "edge_client", "aggregator", "strategies", "simulation")
WITH_EXAMPLES = [
    ".".join(path.relative_to(tracked.ROOT).with_suffix("").parts)
    for room in ROOMS
    for path in sorted(Path(tracked.ROOT, room).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_in_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
