"""What computes a fusion here: numpy, BLAS and the processor's kind. Equal builds give equal bits.

Matrix products, which sums over the clients are made of, and numpy's own reductions add up in an order that depends on
the library, its version, the kernels that it chose for this processor, and its threads; so a round records them.
"""

import platform
from functools import cache

import numpy as np


@cache
def current() -> str:
    """This process's, as `rounds.build` records it: "numpy 2.4.6; openblas 0.3.31 Haswell, 1 thread; x86_64"."""
    from threadpoolctl import threadpool_info  # asks each library itself; not needed before the first fusion

    libraries = [_blas(each) for each in threadpool_info() if each["user_api"] == "blas"]
    return "; ".join([f"numpy {np.__version__}", *sorted(libraries), platform.machine()])


def _blas(info: dict[str, object]) -> str:
    kind = f" {info['architecture']}" if "architecture" in info else ""
    threads = info["num_threads"]
    return f"{info['internal_api']} {info['version']}{kind}, {threads} thread{'' if threads == 1 else 's'}"
