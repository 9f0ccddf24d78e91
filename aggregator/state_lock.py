"""One aggregator at a time on a state directory."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aggregator import keys
from fedloom.errors import StoreError
from fedloom.files import try_lock


@contextmanager
def exclusive(state: Path) -> Iterator[None]:
    """Hold the state directory against a second aggregator.

    Raises:
        TrustError: there is no federation in it.
        StoreError: another one has it.
    """
    keys.require_federation(state)
    lock = try_lock(state / "lock")
    if lock is None:
        raise StoreError(f"{state}: another aggregator runs on it; stop that one first")
    try:
        yield
    finally:
        os.close(lock)
