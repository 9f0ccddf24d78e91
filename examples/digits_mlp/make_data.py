"""Write one NPZ file a device: handwritten digits from scikit-learn, or from MNIST's IDX files with --idx.

Each file holds `x` (n, pixels) float32 in [0, 1] and `y` (n,) int64. With --skew, devices see different digits.
"""

import argparse
import gzip
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAX_PIXELS = 1 << 28
"""Bytes of images that an IDX file may hold: five times MNIST."""
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"

Digits = tuple[NDArray[np.float32], NDArray[np.int64]]


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, .gz or not.

    Format: 0, 0, type (8 = unsigned byte), number of dimensions, each dimension as big-endian uint32, then the bytes.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        head = file.read(4 + 4 * dimensions)
        if len(head) < 4 + 4 * dimensions or head[:4] != bytes((0, 0, 8, dimensions)):
            raise SystemExit(f"{path}: is not an IDX file of bytes in {dimensions} dimensions; give MNIST's own files")
        shape = tuple(int.from_bytes(head[at : at + 4], "big") for at in range(4, len(head), 4))
        size = math.prod(shape)
        if size > MAX_PIXELS:
            raise SystemExit(f"{path}: claims {size} bytes, more than {MAX_PIXELS}; give MNIST's own files")
        body = file.read(size + 1)
    if len(body) != size:
        raise SystemExit(f"{path}: does not hold the {size} bytes that its header claims; download it again")
    return np.frombuffer(body, np.uint8).reshape(shape)


def load_mnist(folder: Path) -> Digits:
    """MNIST's 60,000 training images, from the files as they are distributed."""
    images, labels = (
        read_idx(_with_or_without_gz(folder / name), dimensions) for name, dimensions in ((IMAGES, 3), (LABELS, 1))
    )
    if len(images) != len(labels):
        raise SystemExit(f"{folder}: {len(images)} images but {len(labels)} labels; give files that belong together")
    return images.reshape(len(images), -1).astype(np.float32) / 255, labels.astype(np.int64)


def _with_or_without_gz(path: Path) -> Path:
    zipped = path.with_name(f"{path.name}.gz")
    if not path.exists() and not zipped.exists():
        raise SystemExit(f"{path}: there is no such file, nor a .gz; give --idx the folder with MNIST's files")
    return path if path.exists() else zipped


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
