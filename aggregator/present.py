"""How many devices are there, noted by the running aggregator for `fedloom aggregator status`; not durable.

The file `presence` in the state directory is JSON; it is replaced when the counts change, and twice a minute.
"""

import time
from pathlib import Path

import msgspec

from aggregator.fleet import Fleet

FILE = "presence"
EVERY_S = 30.0


class Present(msgspec.Struct, frozen=True):
    """Who is there at a moment."""

    ready: int
    sleeping: int
    """Until they are wanted, see aggregator.pace."""
    at_s: int
    """Seconds since 1970 (UTC)."""


class PresenceNote:
    """Writes it."""

    def __init__(self, state: Path, fleet: Fleet) -> None:
        self._path = state / FILE
        self._fleet = fleet
        self._last = Present(-1, -1, 0)

    def update(self) -> None:
        """Look, and write if that is due. A disk that is full stops who must write, not who would like to."""
        now = Present(len(self._fleet.ready), len(self._fleet.sleeping), int(time.time()))
        is_same = (now.ready, now.sleeping) == (self._last.ready, self._last.sleeping)
        if is_same and abs(now.at_s - self._last.at_s) < EVERY_S:
            return
        beside = self._path.with_name(f".{FILE}.new")
        try:
            beside.write_bytes(msgspec.json.encode(now))
            beside.chmod(0o600)
            beside.replace(self._path)
        except OSError:
            return
        self._last = now


def read_presence(state: Path) -> Present | None:
    """The last note; None: there is none that can be read."""
    try:
        return msgspec.json.decode((state / FILE).read_bytes(), type=Present)
    except (OSError, msgspec.MsgspecError):
        return None
