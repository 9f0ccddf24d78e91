"""Keeps one device's messages from crowding out the others': a token bucket a topic, and few repeated receipts. No I/O.

Time and rounds refill a bucket: a message more than it holds costs neither a hash nor a parse.
"""

from collections import Counter
from typing import NamedTuple

from aggregator.events import Action, Warn
from aggregator.fleet import Fleet
from fedloom.errors import Refused
from fedloom.wire.chunks import HEADER_BYTES, MAX_FRAME, MIN_SLICE, is_frame

REFILL_S = 4.0
"""Seconds in which an empty bucket is full again."""
SPARE = 8
"""Messages that a bucket holds beyond two whole updates."""
PRESENCES = 16
"""Messages that a bucket of presence holds, however large updates are."""
REPEAT_S = 1.0
"""Seconds between two repeated receipts of one device."""
SMALLEST_COST = 1 / 120
"""Of a message: what a frame of 1 KiB takes from a bucket, beside one of MAX_FRAME."""
BLAME_FROM = 1024
"""Messages of one device that were too many, before somebody is told."""

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
        self._max_bytes = 0
        self._max_frame = MAX_FRAME
        self._granted = 0
        self._buckets: dict[_Key, _Bucket] = {}
        self._repeated_s: dict[bytes, float] = {}
        self._refused: Counter[bytes] = Counter()

    def open_round(self, max_bytes: int) -> None:
        """An update of at most `max_bytes` is expected of each device, however soon after the one before."""
        self._max_bytes = max_bytes
        self._granted += self._frames

    def link_up(self, max_payload_bytes: int) -> None:
        """What fits one message at this broker: devices split their updates by the same measure."""
        self._max_frame = min(MAX_FRAME, max_payload_bytes)

    def admits(self, topic: str, now_s: float, payload: bytes = b"") -> bool:
        """Whether a message on this topic is looked at; `now_s` is on the monotonic clock.

        A device whose link is slow cuts its updates into smaller frames than the broker would take: more of them, and
        each counts for less.
        """
        cost = max(SMALLEST_COST, len(payload) / self._max_frame) if is_frame(payload) else 1.0
        cost = min(cost, 1.0)
        key = self._key(topic)
        is_state = key[1]
        size = float(PRESENCES if is_state else 2 * self._frames + SPARE)
        bucket = self._buckets.get(key)
        left = size
        if bucket is not None:
            granted = 0 if is_state else self._granted - bucket.granted
            left = min(size, bucket.left + (now_s - bucket.at_s) * size / REFILL_S + granted)
        is_admitted = left >= cost
        self._buckets[key] = _Bucket(left - cost * is_admitted, now_s, self._granted)
        return is_admitted

    def blame(self, topic: str) -> list[Action]:
        """A message on this topic was too many: of each device the 1,024th, 2,048th, 4,096th … is told.

        No signature was looked at, so where the broker has no access list it may have been somebody else.
        """
        key, _ = self._key(topic)
        self._refused[key] += 1
        count = self._refused[key]
        if count < BLAME_FROM or count.bit_count() != 1:
            return []
        device = self._fleet.get(key)
        who = f"device {device.name!r}" if device else "ids that are no devices"
        remedy = "fedloom device revoke, then fedloom broker config" if device else "fedloom broker config"
        problem = f"{count} messages too many came on topics of {who}, and fill the broker's queue for all"
        return [Warn(f"{problem}; shut the sender out: {remedy}")]

    @property
    def _frames(self) -> int:
        """Messages that an update of the open round takes at most, see `fedloom.wire.chunks.split`."""
        return -(-self._max_bytes // max(self._max_frame - HEADER_BYTES, MIN_SLICE))

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
