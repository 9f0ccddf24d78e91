"""Jobs that can be compared."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from simulation.population import bundled

TEXT = """
name = "{name}"
[model]
inputs = 64
outputs = 10
[data]
features = ["x"]
target = "y"
classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
[training]
loss = "cross_entropy"
[rounds]
count = 2
[simulation]
dataset = "{dataset}"
clients = 4
test_fraction = 0.5
{sweep}
"""
WriteJob = Callable[..., Path]


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scikit-learn's digits as a file, for which no process has to load scikit-learn."""
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    table = bundled.load("digits")
    np.savez(path, x=table.numbers["x"], y=table.labels["y"])
    return path


@pytest.fixture
def write_job(tmp_path: Path) -> WriteJob:
    def write(name: str = "digits", sweep: str = "", dataset: str = "digits") -> Path:
        path = tmp_path / f"{name}.toml"
        swept = f"[sweep]\n{sweep}\n" if sweep else ""
        path.write_text(TEXT.format(name=name, sweep=swept, dataset=dataset))
        return path

    return write
