"""Small data files, good and bad."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedloom.data.config import SourceConfig
from fedloom.job.data import Data

GOOD = "recording,move,ax,ay\n" + "".join(f"{row // 10},{'ab'[row // 10 % 2]},{row},{row * 0.5}\n" for row in range(40))


@pytest.fixture
def good() -> str:
    """Four recordings of ten rows, alternately of class a and b; ax counts the rows, ay is half of it."""
    return GOOD


@pytest.fixture
def csv_file(tmp_path: Path) -> Callable[..., SourceConfig]:
    """Write a text as a table."""

    def write(text: str, **options: Any) -> SourceConfig:
        path = tmp_path / "data.csv"
        path.write_text(text, encoding="utf-8")
        return SourceConfig(str(path), **options)

    return write


@pytest.fixture
def npz_file(tmp_path: Path) -> Callable[..., SourceConfig]:
    """Write named arrays."""

    def write(options: dict[str, Any] | None = None, **arrays: Any) -> SourceConfig:
        path = tmp_path / "data.npz"
        np.savez_compressed(path, **arrays)
        return SourceConfig(str(path), **(options or {}))

    return write


@pytest.fixture
def data() -> Data:
    """What a job asks for that fits `good`."""
    return Data(features=("ax", "ay"), target="move", classes=("a", "b"), groups=("recording",))
