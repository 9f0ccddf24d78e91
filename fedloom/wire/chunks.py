"""What is too large for one MQTT message travels in pieces: frames for an envelope, chunks for a model. No I/O.

A frame, big-endian:

    3   magic "FLF"
    1   version, 1
    16  transfer: the first 16 bytes of the blob's SHA-256
    2   index, from 0
    2   count of frames, at least 2
    4   blob length in bytes
    …   slice: ceil(length / count) bytes, the last frame has what is left

A blob that fits one message travels as it is: an envelope has a magic of its own.
"""

import hashlib
import struct
from collections import OrderedDict
from collections.abc import Sequence

from fedloom.errors import Reason, Refused

MAX_FRAME = 120 * 1024
"""Bytes; the smallest limit of a broker in wide use is 128 KB (AWS IoT Core)."""
MIN_SLICE = 256
"""Bytes; smaller slices would cost a receiver more in bookkeeping than in content."""

MAGIC = b"FLF"
VERSION = 1
_HEADER = struct.Struct(">3sB16sHHI")
HEADER_BYTES = _HEADER.size


def split(blob: bytes, max_frame: int = MAX_FRAME) -> list[bytes]:
    """The blob itself where it fits, else its frames, each of at most `max_frame` bytes.

    Raises:
        Refused: it needs more than 65,535 frames, or frames so small that no receiver takes them.
    """
    if len(blob) <= max_frame:
        return [blob]
    room = max_frame - HEADER_BYTES
    count = -(-len(blob) // room) if room >= 2 * MIN_SLICE else 0  # slices are levelled, to half of the room at worst
    if not 0 < count <= 0xFFFF or len(blob) > 0xFFFF_FFFF:
        raise Refused(Reason.TOO_LARGE, f"{len(blob)} bytes in frames of at most {max_frame}")
    size = -(-len(blob) // count)
    transfer = hashlib.sha256(blob).digest()[:16]
    return [
        _HEADER.pack(MAGIC, VERSION, transfer, index, count, len(blob)) + blob[index * size : (index + 1) * size]
        for index in range(count)
    ]


def is_frame(payload: bytes) -> bool:
    """Whether a message is a frame, rather than an envelope."""
    return payload[: len(MAGIC)] == MAGIC


class _Transfer:
    """The frames of one blob that have come so far."""

    def __init__(self, count: int, total: int) -> None:
        self.count = count
        self.total = total
        self.slices: dict[int, bytes] = {}


class Assembler:
    """Puts blobs together from frames in any order, with duplicates, within bounded memory.

    Memory: at most max_transfers · max_blob_bytes of content, and bookkeeping of slices of at least MIN_SLICE bytes.
    """

    def __init__(self, max_blob_bytes: int, max_transfers: int, max_per_source: int = 2) -> None:
        """When a transfer too many begins, the oldest unfinished one goes: the source's own, if it has its share."""
        self._max_blob_bytes = max_blob_bytes
        self._max_transfers = max_transfers
        self._max_per_source = max_per_source
        self._transfers: OrderedDict[tuple[str, bytes], _Transfer] = OrderedDict()

    def accept(self, frame: bytes, source: str = "") -> bytes | None:
        """Take a frame; returns the blob when that completes it.

        `source` names the sender (by its topic), so that nobody can spoil or crowd out another's transfers.

        Raises:
            Refused: malformed, too large, or the finished blob is not the one announced.
        """
        transfer, index, count, total, piece = _parse(frame, self._max_blob_bytes)
        key = (source, transfer)
        state = self._transfers.get(key)
        if state is None:
            self._make_room(source)
            state = self._transfers[key] = _Transfer(count, total)
        if (state.count, state.total) != (count, total):
            raise Refused(Reason.MALFORMED, "frames of one transfer disagree on its size")
        state.slices.setdefault(index, piece)
        if len(state.slices) < count:
            return None
        del self._transfers[key]
        blob = b"".join(state.slices[each] for each in range(count))
        if hashlib.sha256(blob).digest()[:16] != transfer:
            raise Refused(Reason.HASH_MISMATCH, "the frames do not make up the blob announced")
        return blob

    def held_bytes(self) -> int:
        """Content held for unfinished transfers."""
        return sum(len(piece) for state in self._transfers.values() for piece in state.slices.values())

    def _make_room(self, source: str) -> None:
        own = [key for key in self._transfers if key[0] == source]
        if len(own) >= self._max_per_source:
            del self._transfers[own[0]]
        elif len(self._transfers) >= self._max_transfers:
            self._transfers.popitem(last=False)


def _parse(frame: bytes, max_blob_bytes: int) -> tuple[bytes, int, int, int, bytes]:
    """Transfer, index, count, total and slice of a frame whose parts fit together."""
    if len(frame) < HEADER_BYTES or not is_frame(frame):
        raise Refused(Reason.MALFORMED, f"{len(frame)} bytes are not a frame")
    _, version, transfer, index, count, total = _HEADER.unpack_from(frame)
    if version != VERSION:
        raise Refused(Reason.UNKNOWN_VERSION, f"frame version {version}")
    if total > max_blob_bytes:
        raise Refused(Reason.TOO_LARGE, f"a blob of {total} bytes, at most {max_blob_bytes} are taken")
    size = -(-total // max(count, 1))
    if count < 2 or index >= count or size < MIN_SLICE or (count - 1) * size >= total:
        raise Refused(Reason.MALFORMED, f"frame {index} of {count} for {total} bytes")
    piece = frame[HEADER_BYTES:]
    if len(piece) != min(size, total - index * size):
        raise Refused(Reason.WRONG_LENGTH, f"frame {index} of {count} has {len(piece)} bytes")
    return transfer, index, count, total, piece


def chunk_hashes(blob: bytes, chunk_bytes: int) -> tuple[bytes, ...]:
    """SHA-256 of each chunk, the last of which may be shorter; a manifest lists them."""
    return tuple(hashlib.sha256(chunk_at(blob, chunk_bytes, i)).digest() for i in range(-(-len(blob) // chunk_bytes)))


def chunk_at(blob: bytes, chunk_bytes: int, index: int) -> bytes:
    """A chunk, by its number."""
    return blob[index * chunk_bytes : (index + 1) * chunk_bytes]


class Download:
    """A blob whose chunks are known by their hashes: each is checked alone, so a download resumes where it stopped."""

    def __init__(self, chunk_hashes: Sequence[bytes], chunk_bytes: int, total_bytes: int) -> None:
        """Raises Refused when number, size and total do not fit together."""
        if chunk_bytes < 1 or total_bytes < 1 or len(chunk_hashes) != -(-total_bytes // chunk_bytes):
            problem = f"{len(chunk_hashes)} chunks of {chunk_bytes} bytes for {total_bytes} bytes"
            raise Refused(Reason.MALFORMED, problem)
        self._hashes = tuple(chunk_hashes)
        self._chunk_bytes = chunk_bytes
        self._total_bytes = total_bytes
        self._chunks: dict[int, bytes] = {}

    @property
    def complete(self) -> bool:
        return len(self._chunks) == len(self._hashes)

    def accept(self, index: int, payload: bytes) -> bool:
        """Take a chunk; returns whether it was new.

        Raises:
            Refused: there is no such chunk, or its length or hash is wrong.
        """
        if not 0 <= index < len(self._hashes):
            raise Refused(Reason.MALFORMED, f"chunk {index} of {len(self._hashes)}")
        if index in self._chunks:
            return False
        if len(payload) != min(self._chunk_bytes, self._total_bytes - index * self._chunk_bytes):
            raise Refused(Reason.WRONG_LENGTH, f"chunk {index} has {len(payload)} bytes")
        if hashlib.sha256(payload).digest() != self._hashes[index]:
            raise Refused(Reason.HASH_MISMATCH, f"chunk {index}")
        self._chunks[index] = payload
        return True

    def assemble(self) -> bytes:
        """The blob.

        Raises:
            Refused: chunks are missing.
        """
        if not self.complete:
            raise Refused(Reason.WRONG_LENGTH, f"{len(self._hashes) - len(self._chunks)} chunks are missing")
        return b"".join(self._chunks[index] for index in range(len(self._hashes)))
