"""Finds committed transactions in SQLite's write-ahead log that SQLite would leave out without a word.

SQLite goes through the log, after a kill, to the first frame whose checksum is wrong, as the end of a write that was
interrupted must be. A bit that was flipped in the middle looks the same, and all behind it would be forgotten. But each
commit is fsynced before the next one is written: so behind an interrupted write there is at most one commit.
"""

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

_HEADER_BYTES, _FRAME_BYTES = 32, 24
_LAST_VALID = 16
"""Where the log's index has the number of its last frame that SQLite reads (mxFrame)."""
_TRIES = 5


def log_fault(path: Path) -> str:
    """What is wrong with the log of the database at `path`; empty where nothing that was durable would be left out."""
    log = path.with_name(f"{path.name}-wal")
    for _ in range(_TRIES):
        header, commits = _commits(log)
        if header and not _is_sound(header):
            return "its header is damaged, so that all in it would be left out"
        if not commits:
            return ""
        last = _last_valid(path)
        if _commits(log)[0] == header:  # else it was begun anew in the meantime
            behind = sum(number > last for number in commits)
            return f"{behind} committed transactions behind the damage would be left out" if behind > 1 else ""
    return ""


def _is_sound(header: bytes) -> bool:
    """Whether its checksum is right."""
    is_big = header[3] & 1
    words = struct.unpack(">6I" if is_big else "<6I", header[:24])
    first = second = 0
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return struct.pack(">II", first, second) == header[24:32]


def _commits(log: Path) -> tuple[bytes, list[int]]:
    """The header of a log that has frames, and the numbers of those that end a transaction of this log."""
    numbers = []
    try:
        with log.open("rb") as file:
            header = file.read(_HEADER_BYTES)
            if log.stat().st_size < _HEADER_BYTES + _FRAME_BYTES:
                return b"", []
            page_bytes, salts, number = struct.unpack_from(">I", header, 8)[0], header[16:24], 0
            while len(frame := file.read(_FRAME_BYTES)) == _FRAME_BYTES:
                number += 1
                size_after_commit = struct.unpack_from(">I", frame, 4)[0]
                if size_after_commit and frame[8:16] == salts:
                    numbers.append(number)
                file.seek(page_bytes, 1)
    except FileNotFoundError:
        return b"", []
    return header, numbers


def _last_valid(path: Path) -> int:
    """The last frame that SQLite reads, which it notes in the log's index; reading changes neither log nor database."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10.0)) as reader:
        reader.execute("PRAGMA schema_version").fetchone()
        with path.with_name(f"{path.name}-shm").open("rb") as index:
            index.seek(_LAST_VALID)
            return int.from_bytes(index.read(4), "little" if struct.pack("=H", 1) == b"\1\0" else "big")
