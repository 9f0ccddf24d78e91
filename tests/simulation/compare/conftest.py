"""Jobs that can be compared."""

from collections.abc import Callable
from pathlib import Path

import pytest

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
[sweep]
{sweep}
"""
WriteJob = Callable[..., Path]


@pytest.fixture
def write_job(tmp_path: Path) -> WriteJob:
    def write(name: str = "digits", sweep: str = "", dataset: str = "digits") -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text(TEXT.format(name=name, sweep=sweep, dataset=dataset))
        return path

    return write
