"""Puts updates together from frames: in any order, with duplicates, within bounds that no sender can stretch.

Small transfers are held in memory, larger ones in slots on disk (aggregator.incoming), of which only a flag a frame is
in memory. A device that does not know what has arrived asks, and is told by `missing`.
"""

from collections import OrderedDict
from hashlib import sha256
from typing import Protocol

from fedloom.errors import Reason, Refused
from fedloom.wire.chunks import TRANSFER_BYTES, Transfer, pack_missing, read_frame

ON_DISK_FROM_BYTES = 2**20
"""Transfers above this do not stay in memory."""
IDLE_S = 300.0
"""A transfer of which nothing has come for so long may have to make room for another; one frame takes two minutes at
1 kB/s."""

Key = tuple[str, Transfer]
"""The source, and what it sends."""


class Slots(Protocol):
    """Where the slices of one transfer lie."""

    def found(self) -> list[int]:
        """Those that an earlier process has left there, whole."""

    def put(self, index: int, piece: bytes) -> None:
        """Keep a slice."""

    def whole(self) -> bytes:
        """All slices, in their order."""

    def drop(self) -> None:
        """Forget them all."""


class Shelf(Protocol):
    """Where large transfers lie."""

    def slots(self, source: str, transfer: Transfer) -> Slots:
        """Those of one transfer; nothing is written yet."""

    def left(self) -> list[Key]:
        """The transfers of which an earlier process has left something."""


class _Memory:
    """Slots in memory."""

    def __init__(self) -> None:
        self._slices: dict[int, bytes] = {}

    def found(self) -> list[int]:
        return []

    def put(self, index: int, piece: bytes) -> None:
        self._slices[index] = piece

    def whole(self) -> bytes:
        return b"".join(self._slices[each] for each in sorted(self._slices))

    def drop(self) -> None:
        self._slices.clear()


class _Assembly:
    """The frames of one blob that have come so far."""

    def __init__(self, transfer: Transfer, slots: Slots, now_s: float) -> None:
        self.slots = slots
        self.heard_s = now_s
        self.has = bytearray(transfer.frames)
        for index in slots.found()[: transfer.frames - 1]:  # of a whole one that nobody has taken, the last comes again
            self.has[index] = 1
        self.left = transfer.frames - sum(self.has)


class Assembler:
    """Memory and disk: at most max_transfers · max_blob_bytes of content, and bookkeeping of slices of at least
    MIN_SLICE bytes.
    """

    def __init__(
        self, max_blob_bytes: int, max_transfers: int, max_per_source: int = 2, shelf: Shelf | None = None
    ) -> None:
        """When a source begins a transfer too many, the one of its own that was silent for longest goes; when there are
        too many in all, one that is silent for IDLE_S, else the new one is refused, so that those that are under way
        come to an end. Without a `shelf` all of them are held in memory.
        """
        self._max_blob_bytes = max_blob_bytes
        self._max_transfers = max_transfers
        self._max_per_source = max_per_source
        self._shelf = shelf
        self._transfers: OrderedDict[Key, _Assembly] = OrderedDict()
        """The one that was silent for longest comes first."""
        for source, transfer in shelf.left() if shelf else []:
            self._open((source, transfer), float("-inf"))

    def accept(self, payload: bytes, source: str = "", now_s: float = 0.0) -> bytes | None:
        """Take a frame; returns the blob when that completes it.

        `source` names the sender (by its topic), so that nobody can spoil or crowd out another's transfers.

        Raises:
            Refused: malformed, too large, BUSY, or the finished blob is not the one announced.
            StoreError: the disk does not take it.
        """
        frame = read_frame(payload, self._max_blob_bytes)
        key = (source, frame.transfer)
        assembly = self._transfers.get(key) or self._open(key, now_s)
        self._transfers.move_to_end(key)
        assembly.heard_s = now_s
        if assembly.has[frame.number]:
            return None
        assembly.slots.put(frame.number, frame.piece)
        assembly.has[frame.number] = 1
        assembly.left -= 1
        return self._finish(key) if not assembly.left else None

    def missing(self, transfer: Transfer, source: str, now_s: float) -> bytes:
        """The bits of a `Missing`: all of them where nothing is known of the transfer.

        Raises:
            Refused: BUSY, it would have to wait for others.
        """
        assembly = self._transfers.get((source, transfer))
        if assembly is None:
            self._surplus(source, now_s)
        has = assembly.has if assembly else bytes(transfer.frames)
        return pack_missing((index for index, each in enumerate(has) if not each), transfer.frames)

    def held_bytes(self) -> int:
        """Content held for unfinished transfers, in memory and on disk."""
        return sum(
            transfer.span(index)[1]
            for (_, transfer), assembly in self._transfers.items()
            for index, each in enumerate(assembly.has)
            if each
        )

    def _open(self, key: Key, now_s: float) -> _Assembly:
        source, transfer = key
        if surplus := self._surplus(source, now_s):
            self._transfers.pop(surplus).slots.drop()
        slots: Slots = _Memory()
        if self._shelf is not None and transfer.total > ON_DISK_FROM_BYTES:
            slots = self._shelf.slots(source, transfer)
        assembly = self._transfers[key] = _Assembly(transfer, slots, now_s)
        return assembly

    def _finish(self, key: Key) -> bytes:
        slots = self._transfers.pop(key).slots
        blob = slots.whole()
        slots.drop()
        if sha256(blob).digest()[:TRANSFER_BYTES] != key[1].id:
            raise Refused(Reason.HASH_MISMATCH, "the frames do not make up the blob announced")
        return blob

    def _surplus(self, source: str, now_s: float) -> Key | None:
        """The transfer that has to make room for another one of `source`."""
        own = [key for key in self._transfers if key[0] == source]
        if len(own) >= self._max_per_source:
            return own[0]
        if len(self._transfers) < self._max_transfers:
            return None
        oldest, assembly = next(iter(self._transfers.items()))
        if now_s - assembly.heard_s < IDLE_S:
            raise Refused(Reason.BUSY, f"{len(self._transfers)} transfers are under way")
        return oldest
