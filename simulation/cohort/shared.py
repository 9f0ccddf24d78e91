"""Memory that a crew's processes share: files without a name, which go with the last process that has them open."""

import logging
import os
import pickle
import tempfile
from functools import cache
from mmap import ACCESS_READ, mmap
from typing import NamedTuple

import numpy as np

from simulation.cohort.matrix import NoRoomError
from strategies.base import Matrix

log = logging.getLogger(__name__)

_IN_MEMORY = "/dev/shm"  # noqa: S108 - files there have no name for longer than it takes to make them
_ALIGNMENT = 64


class Packed(NamedTuple):
    """Where a value lies in a file: its pickle comes first, its arrays follow."""

    size: int
    """Bytes of the pickle."""
    arrays: tuple[tuple[int, int], ...]
    """Where each array's bytes begin, and how many they are."""


def new_file(size_bytes: int) -> int:
    """A descriptor of so many bytes, in memory where there is room, else below TMPDIR.

    Raises:
        NoRoomError: there is none.
    """
    places = [_IN_MEMORY] if os.path.isdir(_IN_MEMORY) else []  # noqa: PTH112
    for place in [*places, None]:
        file = tempfile.TemporaryFile(prefix="fedloom-", dir=place)  # noqa: SIM115 - its descriptor outlives it
        try:
            reserve(file.fileno(), size_bytes)
            return os.dup(file.fileno())
        except NoRoomError:
            if place is None:
                raise
            _tell(tempfile.gettempdir())
        finally:
            file.close()
    raise AssertionError  # the last place has returned or raised


@cache
def _tell(folder: str) -> None:
    """Once in a process."""
    log.warning("memory.elsewhere folder=%s: %s has no room for what workers share", folder, _IN_MEMORY)


def reserve(descriptor: int, size_bytes: int) -> None:
    """Make the file so long, now: memory that turns out not to be there later kills the process that touches it.

    Raises:
        NoRoomError: there is none.
    """
    if not size_bytes:
        return
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
    except OSError as error:
        raise NoRoomError(size_bytes, error) from None


def pack(value: object) -> tuple[int, Packed]:
    """Write a value, of which the arrays are not copied into the pickle; the file's descriptor, and where all is.

    Raises:
        NoRoomError: there is none.
    """
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    places, end = [], _aligned(len(data))
    for view in views:
        places.append((end, view.nbytes))
        end = _aligned(end + view.nbytes)
    descriptor = new_file(end)
    _write(descriptor, data, 0)
    for (start, _), view in zip(places, views, strict=True):
        _write(descriptor, view, start)
    return descriptor, Packed(len(data), tuple(places))


def unpack(descriptor: int, packed: Packed) -> object:
    """What `pack` wrote, by this program; its arrays are read-only views of the file."""
    whole = memoryview(mmap(descriptor, 0, access=ACCESS_READ))
    arrays = [whole[start : start + size] for start, size in packed.arrays]
    return pickle.loads(whole[: packed.size], buffers=arrays)  # noqa: S301 - our own parent's


def matrix(descriptor: int, shape: tuple[int, int]) -> Matrix:
    """The beginning of a file as a matrix; what one process writes, the others see."""
    if not shape[0] * shape[1]:
        return np.empty(shape, np.float32)
    return np.frombuffer(mmap(descriptor, 4 * shape[0] * shape[1]), np.float32).reshape(shape)


def _aligned(offset: int) -> int:
    return -(-offset // _ALIGNMENT) * _ALIGNMENT


def _write(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written
