"""Write one CSV file a device: y = β·x + intercept + noise, ten features whose mean and spread differ by device."""

import argparse
from pathlib import Path

import numpy as np

FEATURES = 10
INTERCEPT, NOISE = -3.0, 0.1
ROWS = 400
BETA = np.array([1.5, -2.0, 0.5, 0.0, 3.0, -1.0, 0.25, 2.0, -0.75, 1.0])


def make(out: Path, devices: int, seed: int) -> list[Path]:
    """Features are correlated (0.3), scaled from 0.5 to 5, and shifted and stretched anew on each device."""
    out.mkdir(parents=True, exist_ok=True)
    scale = np.linspace(0.5, 5.0, FEATURES)
    mixing = np.linalg.cholesky(0.7 * np.eye(FEATURES) + 0.3)
    names = ",".join(f"x{number}" for number in range(1, FEATURES + 1))
    paths = []
    for device in range(devices):
        rng = np.random.default_rng((seed, device))
        shift, stretch = rng.normal(0.0, 0.5, FEATURES), rng.uniform(0.7, 1.3, FEATURES)
        x = scale * (shift + stretch * (rng.normal(size=(ROWS, FEATURES)) @ mixing.T))
        y = x @ BETA + INTERCEPT + rng.normal(0.0, NOISE, ROWS)
        paths.append(out / f"device-{device + 1:02d}.csv")
        np.savetxt(paths[-1], np.column_stack((x, y)), fmt="%.6f", delimiter=",", header=f"{names},y", comments="")
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--devices", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for path in make(arguments.out, arguments.devices, arguments.seed):
        print(path)


if __name__ == "__main__":
    main()
