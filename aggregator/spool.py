"""The admitted updates of each round on disk: one append-only segment a round, from which a fusion can be recomputed.

A segment is the magic "FLS", version 1, then records, big-endian:

    4   length of what follows the checksum
    4   CRC-32 of that
    16  device
    1   encoding of the vector, see fedloom.wire.encoding
    …   the plain body of the update, see fedloom.wire.messages.Update

What is in a segment counts only if the store has an entry for it: a torn tail is garbage that nothing points to.
"""

import errno
import math
import os
import shutil
import struct
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import msgspec
import numpy as np

from aggregator.columns import SLICED, Place, decoded, read_columns
from aggregator.damage import DamagedError
from aggregator.records import Answer, SpoolEntry
from fedloom.errors import StoreError
from fedloom.files import make_private_directory, sync_directory
from fedloom.learning.layout import Vector
from fedloom.msgpack import decode
from fedloom.wire import encoding
from fedloom.wire.messages import Update
from strategies import Block, ClientUpdate
from strategies.base import Matrix

MAGIC = b"FLS\x01"
_HEAD = struct.Struct(">II16sB")
_CHECKED_FROM = 8


class SpooledUpdate(NamedTuple):
    """An admitted update, read back."""

    device: bytes
    encoding: int
    update: Update


class Spool:
    """The segments of all runs, below one directory."""

    def __init__(self, directory: Path) -> None:
        make_private_directory(directory)
        sync_directory(directory.parent)
        self._directory = directory
        self._named: Path | None = None
        """The last segment whose name this process has made durable; the process before may have died in between."""

    def segment(self, job: bytes, round_number: int, attempt: int) -> Path:
        """The file of a round's attempt."""
        return self._directory / segment_name(job, round_number, attempt)

    def append(self, segment: Path, answers: Sequence[Answer]) -> list[SpoolEntry]:
        """Write the answers' bodies behind what is there: one write, one fsync.

        Raises:
            StoreError: they are not durable; nothing may be acknowledged.
        """
        entries = []
        try:
            size = _size(segment)
            is_new = size < len(MAGIC)  # also where a full disk or a kill has left less: no entry points there
            if is_new:
                make_private_directory(segment.parent)
            parts = [MAGIC] if is_new else []
            offset = len(MAGIC) if is_new else size
            for answer in answers:
                parts += [_head(answer), answer.body]
                length = _HEAD.size + len(answer.body)
                entries.append(SpoolEntry(answer.device, answer.samples, offset, length, answer.base))
                offset += length
            _append_durably(segment, parts, os.O_TRUNC if is_new else 0)
            self._sync_name(segment)
        except OSError as error:
            raise StoreError(f"{segment}: cannot be written ({error.strerror})") from error
        return entries

    def _sync_name(self, segment: Path) -> None:
        if segment != self._named:
            sync_directory(segment.parent)
            sync_directory(self._directory)
            self._named = segment

    def prune(self, job: bytes, keep_from_round: int) -> None:
        """Delete the segments of this run's older rounds, and of other runs."""
        for run in self._directory.iterdir():
            if run.name != job.hex():
                shutil.rmtree(run)
        for segment in (self._directory / job.hex()).glob("r*.spool"):
            if int(segment.name[1:8]) < keep_from_round:
                segment.unlink()


def segment_name(job: bytes, round_number: int, attempt: int) -> str:
    """Where the segment of a round's attempt is, below the spool's directory."""
    return f"{job.hex()}/r{round_number:07d}-a{attempt:04d}.spool"


def read(segment: Path, entries: Sequence[SpoolEntry]) -> Iterator[SpooledUpdate]:
    """The updates at `entries`, in that order, one at a time.

    Raises:
        DamagedError: a record is missing, torn or altered.
        StoreError: the disk cannot be read now.
    """
    with _reading(segment):
        for entry, record in _records(segment, entries):
            yield SpooledUpdate(entry.device, record[_HEAD.size - 1], decode(record[_HEAD.size :], Update))


def damage(segment: Path, entries: Sequence[SpoolEntry]) -> Iterator[str]:
    """What is wrong with each of these records that is not as it was written; nothing where all are sound."""
    for entry in entries:
        try:
            for spooled in read(segment, [entry]):
                samples = spooled.update.samples
                if samples != entry.samples:
                    yield f"{segment}: the record at {entry.offset} has {samples} samples, not {entry.samples}"
        except DamagedError as error:
            yield str(error)


class SpooledUpdates:
    """The weight differences of a round for a strategy: lazy, readable again, in the order of the devices' ids.

    Those of one device come in the order of what they answer.
    """

    def __init__(self, segment: Path, entries: Sequence[SpoolEntry], size: int, trusted: Vector | None = None) -> None:
        """`size` is the number of weights; `trusted` (p,) is the update that the aggregator has trained itself."""
        self.trusted = trusted
        self._segment = segment
        self._entries = sorted(entries, key=lambda entry: entry.key)
        self._size = size
        self._places: list[Place] | None = None
        """Of the vectors, once columns were asked for."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def samples(self) -> Sequence[int]:
        """Of each update, in order."""
        return [entry.samples for entry in self._entries]

    @property
    def received(self) -> int:
        """All that are here."""
        return len(self)

    def __iter__(self) -> Iterator[ClientUpdate]:
        for block in self.blocks(1):
            yield from block.updates

    def blocks(self, rows: int) -> Iterator[Block]:
        """Decoded straight into the rows of one matrix, in blocks of `rows`."""
        matrix: Matrix = np.empty((min(rows, len(self)), self._size), np.float32)
        controls: Matrix = np.empty((0, self._size), np.float32)
        block: list[ClientUpdate] = []
        for entry, spooled in zip(self._entries, read(self._segment, self._entries), strict=True):
            if spooled.update.control and not len(controls):
                controls = np.empty_like(matrix)
            row = len(block)
            block.append(_decoded(spooled, entry, matrix[row], controls[row : row + 1]))
            if len(block) == len(matrix):
                yield Block(tuple(block), matrix)
                block = []
        if block:
            yield Block(tuple(block), matrix[: len(block)])

    def columns(self, start: int, out: Matrix) -> None:
        """Reads the bytes of these columns alone; the first call reads all, to compare the checksums."""
        with _reading(self._segment):
            if self._places is None:
                self._places = self._find()
            read_columns(self._places, start, out)

    def _find(self) -> list[Place]:
        """Where each vector lies; those that cannot be read in parts are decoded into a file of their own."""
        places, lengths = [], []
        segment = self._keep(os.open(self._segment, os.O_RDONLY | os.O_CLOEXEC))
        for entry, record in _records(self._segment, self._entries):
            offset, length = _vector_in(record)
            kind = encoding.NAMES[record[_HEAD.size - 1]]
            places.append(Place(segment, entry.offset + offset, self._size, kind))
            lengths.append(length)
        whole = [number for number, place in enumerate(places) if place.encoding not in SLICED]
        if whole:
            chosen = [places[number] for number in whole], [lengths[number] for number in whole]
            descriptor, found = decoded(*chosen, self._segment.parent)
            self._keep(descriptor)
            for number, place in zip(whole, found, strict=True):
                places[number] = place
        return places

    def _keep(self, descriptor: int) -> int:
        """Close it when nobody holds these updates any more."""
        weakref.finalize(self, os.close, descriptor)
        return descriptor


def _decoded(spooled: SpooledUpdate, entry: SpoolEntry, delta: Vector, control: Matrix) -> ClientUpdate:
    """The update with its vectors in `delta` (p,) and, where there is a second one, the row of `control` (1, p)."""
    update, name = spooled.update, encoding.NAMES[spooled.encoding]
    encoding.decode(update.vector, name, delta)
    if update.control:
        encoding.decode(update.control, name, control[0])
    return ClientUpdate(
        client=spooled.device,
        samples=update.samples,
        delta=delta,
        staleness=entry.staleness,
        steps=update.steps,
        loss=math.nan if update.loss is None else update.loss,
        control=control[0] if update.control else None,
    )


def _head(answer: Answer) -> bytes:
    """What precedes the body, which is not copied: it may be large."""
    checked = answer.device + bytes([answer.encoding])
    return struct.pack(">II", len(checked) + len(answer.body), crc32(answer.body, crc32(checked))) + checked


@contextmanager
def _reading(segment: Path) -> Iterator[None]:
    """Say which file an error of the disk is about, and whether it is damage."""
    try:
        yield
    except OSError as error:
        kind = DamagedError if error.errno in (errno.ENOENT, errno.EIO) else StoreError
        raise kind(f"{segment}: cannot be read ({error.strerror})") from error


def _records(segment: Path, entries: Sequence[SpoolEntry]) -> Iterator[tuple[SpoolEntry, memoryview]]:
    """The records at `entries`, head and body, as they were written; each valid only until the next is taken."""
    if not entries:
        return
    # One buffer for all: for large updates, fresh memory for each costs as much as reading it.
    buffer = memoryview(bytearray(max(entry.length for entry in entries)))
    with segment.open("rb", buffering=0) as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise DamagedError(f"{segment}: is not a spool of this version")
        for entry in entries:
            file.seek(entry.offset)
            record = buffer[: file.readinto(buffer[: entry.length])]
            if not _is_sound(record, entry):
                raise DamagedError(f"{segment}: the record at {entry.offset} is damaged")
            yield entry, record


def _is_sound(record: memoryview, entry: SpoolEntry) -> bool:
    if not len(record) == entry.length >= _HEAD.size:
        return False
    length, checksum, device, _ = _HEAD.unpack_from(record)
    checked = record[_CHECKED_FROM:]
    return bool(length == len(checked) and checksum == crc32(checked) and device == entry.device)


class _Vector(msgspec.Struct, array_like=True):
    """The beginning of an `Update`, with the vector where it lies."""

    samples: int
    steps: int
    train_loss: float
    vector: memoryview


def _vector_in(record: memoryview) -> tuple[int, int]:
    """Offset and length of the encoded vector."""
    body = np.frombuffer(record, np.uint8)[_HEAD.size :]
    vector = np.frombuffer(decode(body.data, _Vector).vector, np.uint8)
    return _HEAD.size + vector.ctypes.data - body.ctypes.data, vector.size


def _size(segment: Path) -> int:
    try:
        return segment.stat().st_size
    except FileNotFoundError:
        return 0


def _append_durably(segment: Path, parts: list[bytes], flags: int) -> None:
    descriptor = os.open(segment, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.writelines(parts)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
