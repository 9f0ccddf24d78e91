"""The most that this machine's OpenBLAS does on one core, in GFLOP/s: prints it as JSON."""

import json
import time

import numpy as np

SIZE = 2048
RUNS = 8


def main() -> None:
    """The best of some products of square float32 matrices."""
    a, b = np.random.default_rng(0).random((2, SIZE, SIZE), np.float32)
    out, best_s = np.empty_like(a), float("inf")
    for _ in range(RUNS):
        began_s = time.perf_counter()
        np.matmul(a, b, out=out)
        best_s = min(best_s, time.perf_counter() - began_s)
    print(json.dumps({"gflop_per_s": 2e-9 * SIZE**3 / best_s}))


if __name__ == "__main__":
    main()
