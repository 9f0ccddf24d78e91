"""Keeps one device's messages from crowding out the others': a token bucket a topic, and few repeated receipts. No I/O.

Time and rounds refill a bucket: a message more than it holds costs neither a hash nor a parse.
"""

from typing import NamedTuple

from aggregator.fleet import Fleet
from fedloom.errors import Refused
from fedloom.wire.chunks import MAX_FRAME

REFILL_S = 4.0
"""Seconds in which an empty bucket is full again."""
SPARE = 8
"""Messages that a bucket holds beyond two whole updates."""
REPEAT_S = 1.0
"""Seconds between two repeated receipts of one device."""

_Key = tuple[bytes, bool]
"""The device (nobody's topics share one), and whether the topic is that of its presence."""


class _Bucket(NamedTuple):
    left: float
    at_s: float
    granted: int


class Throttle:
    """What it remembers is bounded by the number of enrolled devices, and outlives rounds."""

    def __init__(self, fleet: Fleet) -> None:
        self.late: dict[bytes, bytes] = {}
        """Digest of the last late update of each device: believed once, it needs no signature check again."""
        self._fleet = fleet
        self._size = float(SPARE)
        self._granted = 0
        self._buckets: dict[_Key, _Bucket] = {}
        self._repeated_s: dict[bytes, float] = {}

    def open_round(self, max_bytes: int) -> None:
        """An update of at most `max_bytes` is expected of each device, however soon after the one before."""
        frames = -(-max_bytes // MAX_FRAME)
        self._size = float(2 * frames + SPARE)
        self._granted += frames

    def admits(self, topic: str, now_s: float) -> bool:
        """Whether a message on this topic is looked at; `now_s` is on the monotonic clock."""
        key = self._key(topic)
        bucket = self._buckets.get(key)
        left = self._size
        if bucket is not None:
            earned = (now_s - bucket.at_s) * self._size / REFILL_S + self._granted - bucket.granted
            left = min(self._size, bucket.left + earned)
        is_admitted = left >= 1.0
        self._buckets[key] = _Bucket(left - is_admitted, now_s, self._granted)
        return is_admitted

    def may_repeat(self, device: bytes, now_s: float) -> bool:
        """Whether a receipt that was sent before is sent again."""
        if now_s - self._repeated_s.get(device, float("-inf")) < REPEAT_S:
            return False
        self._repeated_s[device] = now_s
        return True

    def _key(self, topic: str) -> _Key:
        is_state = topic.endswith("/state")
        try:
            device = self._fleet.topics.device_of(topic)
        except Refused:
            return b"", is_state
        return (device if self._fleet.get(device) else b""), is_state
