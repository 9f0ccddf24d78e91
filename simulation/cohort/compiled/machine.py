"""What this processor has, and how functions are compiled for it."""

import hashlib
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite.binding as llvm
import numba
import numpy as np

from fedloom.learning.layout import Array

if numba.config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set")

_FEATURES = llvm.get_host_cpu_features()
_IS_WIDE = bool(_FEATURES.get("avx512f"))

VECTOR_BYTES = 64 if _IS_WIDE else 32 if _FEATURES.get("avx2") else 16
HAS_32_REGISTERS = _IS_WIDE or platform.machine() in ("aarch64", "arm64")

at = cast("Callable[[int], int]", np.uintp)
"""For indices: compiled code asks of each that may be negative whether it counts from the end, which takes innermost
loops 3 to 6 times as long. To be mixed with its like only, else the sum is a float.
"""
Function = TypeVar("Function", bound=Callable[..., Any])

# Not all of fastmath: a kernel that may take NaN for impossible would hide that a client diverges.
_OPTIONS: dict[str, Any] = {
    "forceinline": True,
    "nopython": True,
    "error_model": "numpy",
    "fastmath": {"contract", "reassoc", "nsz"},
}
_SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))).digest()


def compiled(function: Function) -> Function:
    """`function`, compiled when it is first called and kept on disk for later processes, until this package changes."""
    try:
        found = numba.jit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # nowhere to keep it: neither our folder nor the user's cache can be written
        return cast("Function", numba.jit(**_OPTIONS)(function))
    # Numba looks for changes in the function's own file, but what it calls is a part of it.
    found._cache._cache_file._source_stamp = _SOURCES
    return cast("Function", found)


def read_only(array: Array) -> Array:
    """A view. Functions are compiled for either kind of array: this way once, and the same for all processes, of which
    workers have their samples read-only.
    """
    view: Array = array.view(np.ndarray)
    view.flags.writeable = False
    return view
