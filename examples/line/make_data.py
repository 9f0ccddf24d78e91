"""Write one CSV file a device: noisy points on the line y = 2x + 1, each device seeing another stretch of it."""

import argparse
from pathlib import Path

import numpy as np

SLOPE, INTERCEPT, NOISE = 2.0, 1.0, 0.1
ROWS = 300


def make(out: Path, devices: int, seed: int) -> list[Path]:
    """Device k's x lies around k: no device sees the whole line."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for device in range(devices):
        rng = np.random.default_rng((seed, device))
        x = rng.uniform(device - 1.5, device + 1.5, ROWS)
        y = SLOPE * x + INTERCEPT + rng.normal(0.0, NOISE, ROWS)
        paths.append(out / f"device-{device + 1:02d}.csv")
        np.savetxt(paths[-1], np.column_stack((x, y)), fmt="%.6f", delimiter=",", header="x,y", comments="")
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
