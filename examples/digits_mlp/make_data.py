"""Write one NPZ file a device: handwritten digits from scikit-learn, or from MNIST's IDX files with --idx.

Each file holds `x` (n, pixels) float32 in [0, 1] and `y` (n,) int64. With --skew, devices see different digits.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedloom.errors import DataError
from simulation.population import images

Digits = tuple[NDArray[np.float32], NDArray[np.int64]]


def load_mnist(folder: Path) -> Digits:
    """MNIST's 60,000 training images, from the files as they are distributed."""
    try:
        table = images.load(folder, images.TRAINING)
    except DataError as error:
        raise SystemExit(str(error)) from None
    return table.numbers["x"], table.labels["y"]


def load_small() -> Digits:
    """scikit-learn's 1,797 digits of 8 × 8 pixels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return (digits.data / 16).astype(np.float32), digits.target.astype(np.int64)


def split(labels: NDArray[np.int64], devices: int, skew: bool, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """The rows of each device: equal shares at random or, with skew, of every digit shares of Dirichlet(0.5)."""
    if not skew:
        return np.array_split(rng.permutation(len(labels)), devices)
    parts: list[list[NDArray[np.int64]]] = [[] for _ in range(devices)]
    for digit in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == digit))
        cuts = np.cumsum(rng.dirichlet(np.full(devices, 0.5)))[:-1] * len(rows)
        for part, share in zip(parts, np.split(rows, cuts.astype(np.int64)), strict=True):
            part.append(share)
    return [rng.permutation(np.concatenate(part)) for part in parts]


def make(
    out: Path, devices: int, seed: int, skew: bool = False, idx: Path | None = None, unseen: float = 0.0
) -> list[Path]:
    """Deal the digits out to the devices; a share `unseen` of them to none, but to `out`/unseen/digits.npz."""
    x, y = load_mnist(idx) if idx else load_small()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y)) if unseen else np.arange(len(y))
    count = int(len(y) * unseen)
    if count:
        _write(out / "unseen" / "digits.npz", x, y, order[:count])
    x, y = x[order[count:]], y[order[count:]]
    paths = []
    for device, rows in enumerate(split(y, devices, skew, rng), 1):
        paths.append(out / f"device-{device:02d}.npz")
        _write(paths[-1], x, y, rows)
    return paths


def _write(path: Path, x: NDArray[np.float32], y: NDArray[np.int64], rows: NDArray[np.int64]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, x=x[rows], y=y[rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--devices", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skew", action="store_true", help="each device has its own mixture of digits")
    parser.add_argument("--idx", type=Path, help="folder with MNIST's train-*-ubyte[.gz]")
    parser.add_argument("--unseen", type=float, default=0.0, help="share that no device gets: OUT/unseen/digits.npz")
    arguments = parser.parse_args()
    if not 0.0 <= arguments.unseen < 1.0:
        parser.error(f"--unseen: {arguments.unseen} is not a share; give a number from 0 up to but not including 1")
    for path in make(**vars(arguments)):
        print(path)


if __name__ == "__main__":
    main()
