"""Follows what the aggregator says on standard output, over all of its lives."""

from pathlib import Path

import msgspec

from aggregator.notices import AnyNotice, RoundClosed


class Follower:
    """The rounds that it said were closed, and how."""

    def __init__(self, path: Path) -> None:
        self.closed: list[RoundClosed] = []
        self.done = 0
        self.aborted = 0
        self.undecodable = 0
        """Lines that a SIGKILL has cut."""
        self._path = path
        self._offset = 0
        self._pending = b""

    def read(self) -> list[RoundClosed]:
        """What is new."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        *lines, self._pending = (self._pending + data).split(b"\n")
        fresh = [notice for line in lines if isinstance(notice := self._decode(line), RoundClosed)]
        self.closed += fresh
        self.done += sum(each.outcome == "done" for each in fresh)
        self.aborted += sum(each.outcome == "aborted" for each in fresh)
        return fresh

    def _decode(self, line: bytes) -> object:
        try:
            return msgspec.json.decode(line, type=AnyNotice)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.undecodable += 1
            return None
