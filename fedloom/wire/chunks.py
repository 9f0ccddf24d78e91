"""What is too large for one MQTT message travels in pieces: frames for an envelope, chunks for a model. No I/O.

A frame, big-endian:

    3   magic "FLF"
    1   version, 1
    16  transfer: the first 16 bytes of the blob's SHA-256
    2   index, from 0
    2   count of frames, at least 2
    4   blob length in bytes
    …   slice: ceil(length / count) bytes, the last frame has what is left

A blob that fits one message travels as it is: an envelope has a magic of its own. Who does not know which of its frames
have arrived asks, and is told by a `Missing` (see fedloom.wire.messages). A question:

    3   magic "FLQ"
    1   version, 1
    16  transfer
    2   count of frames
    4   blob length in bytes
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from fedloom.errors import Reason, Refused

MAX_FRAME = 120 * 1024
"""Bytes; the smallest limit of a broker in wide use is 128 KB (AWS IoT Core)."""
MIN_SLICE = 256
"""Bytes; smaller slices would cost a receiver more in bookkeeping than in content."""
TRANSFER_BYTES = 16

MAGIC = b"FLF"
QUESTION_MAGIC = b"FLQ"
VERSION = 1
_HEADER = struct.Struct(">3sB16sHHI")
_QUESTION = struct.Struct(">3sB16sHI")
HEADER_BYTES = _HEADER.size


class Transfer(NamedTuple):
    """A blob on its way in frames: its name, and how it is cut. Cut otherwise, it is another transfer."""

    id: bytes
    """The first 16 bytes of the blob's SHA-256."""
    frames: int
    """How many."""
    total: int
    """Bytes of the blob."""

    @property
    def slice_bytes(self) -> int:
        """Of each frame but the last."""
        return -(-self.total // self.frames)

    def span(self, index: int) -> tuple[int, int]:
        """Where the slice of a frame begins in the blob, and its length."""
        start = index * self.slice_bytes
        return start, min(self.slice_bytes, self.total - start)

    def frame_header(self, index: int) -> bytes:
        """What goes before the slice."""
        return _HEADER.pack(MAGIC, VERSION, self.id, index, self.frames, self.total)

    def question(self) -> bytes:
        """Asks which frames are missing."""
        return _QUESTION.pack(QUESTION_MAGIC, VERSION, self.id, self.frames, self.total)


class Frame(NamedTuple):
    """A piece of a blob."""

    transfer: Transfer
    number: int
    piece: bytes


def cut(digest: bytes, total: int, max_frame: int = MAX_FRAME) -> Transfer:
    """How a blob of `total` bytes that does not fit `max_frame` travels; `digest` is its SHA-256.

    Raises:
        Refused: it needs more than 65,535 frames, or frames so small that no receiver takes them.
    """
    room = max_frame - HEADER_BYTES
    count = -(-total // room) if room >= 2 * MIN_SLICE else 0  # slices are levelled, to half of the room at worst
    if not 0 < count <= 0xFFFF or total > 0xFFFF_FFFF:
        raise Refused(Reason.TOO_LARGE, f"{total} bytes in frames of at most {max_frame}")
    return Transfer(digest[:TRANSFER_BYTES], count, total)


def split(blob: bytes, max_frame: int = MAX_FRAME) -> list[bytes]:
    """The blob itself where it fits, else its frames, each of at most `max_frame` bytes.

    Raises:
        Refused: see `cut`.
    """
    if len(blob) <= max_frame:
        return [blob]
    transfer = cut(hashlib.sha256(blob).digest(), len(blob), max_frame)
    spans = [transfer.span(index) for index in range(transfer.frames)]
    return [transfer.frame_header(index) + blob[at : at + size] for index, (at, size) in enumerate(spans)]


def is_frame(payload: bytes) -> bool:
    """Whether a message is a frame, rather than an envelope."""
    return payload[: len(MAGIC)] == MAGIC


def is_question(payload: bytes) -> bool:
    """Whether a message asks for the missing frames of a transfer."""
    return payload[: len(QUESTION_MAGIC)] == QUESTION_MAGIC


def read_frame(frame: bytes, max_blob_bytes: int) -> Frame:
    """A frame whose parts fit together.

    Raises:
        Refused: MALFORMED, UNKNOWN_VERSION, TOO_LARGE or WRONG_LENGTH.
    """
    if len(frame) < HEADER_BYTES or not is_frame(frame):
        raise Refused(Reason.MALFORMED, f"{len(frame)} bytes are not a frame")
    _, version, name, index, count, total = _HEADER.unpack_from(frame)
    transfer = _checked(version, Transfer(name, count, total), max_blob_bytes)
    if index >= count:
        raise Refused(Reason.MALFORMED, f"frame {index} of {count}")
    piece = frame[HEADER_BYTES:]
    if len(piece) != transfer.span(index)[1]:
        raise Refused(Reason.WRONG_LENGTH, f"frame {index} of {count} has {len(piece)} bytes")
    return Frame(transfer, index, piece)


def read_question(payload: bytes, max_blob_bytes: int) -> Transfer:
    """The transfer that is asked about.

    Raises:
        Refused: MALFORMED, UNKNOWN_VERSION or TOO_LARGE.
    """
    if len(payload) != _QUESTION.size or not is_question(payload):
        raise Refused(Reason.MALFORMED, f"{len(payload)} bytes are not a question")
    _, version, name, count, total = _QUESTION.unpack(payload)
    return _checked(version, Transfer(name, count, total), max_blob_bytes)


def _checked(version: int, transfer: Transfer, max_blob_bytes: int) -> Transfer:
    _, count, total = transfer
    if version != VERSION:
        raise Refused(Reason.UNKNOWN_VERSION, f"frame version {version}")
    if total > max_blob_bytes:
        raise Refused(Reason.TOO_LARGE, f"a blob of {total} bytes, at most {max_blob_bytes} are taken")
    if count < 2 or transfer.slice_bytes < MIN_SLICE or (count - 1) * transfer.slice_bytes >= total:
        raise Refused(Reason.MALFORMED, f"{count} frames for {total} bytes")
    return transfer


def pack_missing(missing: Iterable[int], count: int) -> bytes:
    """A bit for each of `count` frames, the first one the highest bit of the first byte.

    >>> pack_missing([0, 9], 10).hex()
    '8040'
    """
    flags = np.zeros(count, np.uint8)
    flags[list(missing)] = 1
    return np.packbits(flags).tobytes()


def read_missing(bits: bytes, count: int) -> list[int]:
    """The numbers of the frames whose bits are set.

    Raises:
        Refused: MALFORMED, there are not as many bits as frames.
    """
    if len(bits) != -(-count // 8):
        raise Refused(Reason.MALFORMED, f"{len(bits)} bytes of bits for {count} frames")
    flags = np.unpackbits(np.frombuffer(bits, np.uint8))
    if flags[count:].any():
        raise Refused(Reason.MALFORMED, f"bits beyond the last of {count} frames")
    return [int(index) for index in flags.nonzero()[0]]


def chunk_hashes(blob: bytes, chunk_bytes: int) -> tuple[bytes, ...]:
    """SHA-256 of each chunk, the last of which may be shorter; a manifest lists them."""
    return tuple(hashlib.sha256(chunk_at(blob, chunk_bytes, i)).digest() for i in range(-(-len(blob) // chunk_bytes)))


def chunk_at(blob: bytes, chunk_bytes: int, index: int) -> bytes:
    """A chunk, by its number."""
    return blob[index * chunk_bytes : (index + 1) * chunk_bytes]


class Chunks(NamedTuple):
    """A blob whose chunks are known by their hashes: each is checked alone, so a download resumes where it stopped."""

    hashes: tuple[bytes, ...]
    chunk_bytes: int
    total: int

    @classmethod
    def checked(cls, hashes: Sequence[bytes], chunk_bytes: int, total: int) -> "Chunks":
        """Raises Refused when number, size and total do not fit together."""
        if chunk_bytes < 1 or total < 1 or len(hashes) != -(-total // chunk_bytes):
            raise Refused(Reason.MALFORMED, f"{len(hashes)} chunks of {chunk_bytes} bytes for {total} bytes")
        return cls(tuple(hashes), chunk_bytes, total)

    def span(self, index: int) -> tuple[int, int]:
        """Where a chunk begins in the blob, and its length."""
        start = index * self.chunk_bytes
        return start, min(self.chunk_bytes, self.total - start)

    def check(self, index: int, payload: bytes) -> None:
        """Return if this is chunk `index`.

        Raises:
            Refused: there is no such chunk, or its length or hash is wrong.
        """
        if not 0 <= index < len(self.hashes):
            raise Refused(Reason.MALFORMED, f"chunk {index} of {len(self.hashes)}")
        if len(payload) != self.span(index)[1]:
            raise Refused(Reason.WRONG_LENGTH, f"chunk {index} has {len(payload)} bytes")
        if hashlib.sha256(payload).digest() != self.hashes[index]:
            raise Refused(Reason.HASH_MISMATCH, f"chunk {index}")
