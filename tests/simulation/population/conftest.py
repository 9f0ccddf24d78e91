"""IDX files in the format of MNIST."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    """An IDX file of unsigned bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes()


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Forty images of 28 × 28 to train on and ten to test on; image i is all i, of class i % 10."""
    folder = tmp_path / "sets" / "mnist"
    folder.mkdir(parents=True)
    for part, count in (("train", 40), ("t10k", 10)):
        images = np.repeat(np.arange(count, dtype=np.uint8), 784).reshape(count, 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(count, dtype=np.uint8) % 10))
    return folder
