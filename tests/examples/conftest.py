"""The examples' own scripts, loaded from where a user finds them."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def examples() -> Path:
    """The folder of examples."""
    return EXAMPLES


@pytest.fixture
def generator() -> Callable[[str], ModuleType]:
    """Load an example's make_data.py."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"make_{name}", EXAMPLES / name / "make_data.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
