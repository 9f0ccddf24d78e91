"""Keeps what the link brings until it is clear that no other aggregator has our identity.

A broker sends what it has queued for us right behind its CONNACK: requests to join, updates. To decide on any of it is
to speak. So until `RivalWatch` is clear, all of it is held: acknowledged at once, because what the watch waits for may
come behind it and a broker sends only so much that nobody acknowledges (Mosquitto: 20 messages), and handed on
afterwards. Beyond the bounds it is dropped, and so is all of it where the process ends: devices repeat what they have
no receipt or answer for. No I/O, no clock.
"""

import logging
from collections import deque
from typing import NamedTuple

from aggregator.rival import RivalWatch
from fedloom.errors import Refused
from fedloom.link.base import Connected, Disconnected, Event, Received
from fedloom.rarely import is_told

MAX_HELD = 256
"""Messages."""
MAX_HELD_BYTES = 64 * 2**20

log = logging.getLogger(__name__)


class Held(NamedTuple):
    """What came while we were silent."""

    messages: tuple[Received, ...]
    """In their order; acknowledged."""
    is_all: bool
    """None was dropped."""


class LinkGate:
    """Shut from each connection until its watch is clear."""

    def __init__(self, rival: RivalWatch) -> None:
        self._rival = rival
        self._is_open = False
        self._held: deque[Received] = deque()
        self._held_bytes = 0
        self._is_all = True
        self._forged = 0
        """Manifests and root documents that were not believed."""

    @property
    def topics(self) -> tuple[str, ...]:
        """To be subscribed to before all others, in this order."""
        return self._rival.topics

    @property
    def wake_at_s(self) -> float | None:
        """When to call `open_if_clear` again; None where nothing is waited for."""
        return self._rival.wake_at_s

    def passes(self, event: Event, now_s: float) -> bool:
        """Whether an event is to be handled now; a message that does not pass is to be acknowledged.

        Raises:
            StoreError: another aggregator uses our identity.
        """
        try:
            self._rival.handle(event, now_s)
        except Refused as refused:
            self._forged += 1
            if is_told(self._forged):
                text = "manifest.forged topic=%s reason=%s count=%d"
                log.warning(text, getattr(event, "topic", ""), refused.reason.value, self._forged)
        match event:
            case Connected() | Disconnected():
                self._is_open = False
            case Received(topic) if topic in self.topics:
                return False
            case Received() if not self._is_open:
                self._hold(event)
                return False
        return True

    def open_if_clear(self, now_s: float) -> Held | None:
        """What was held, if the watch is clear: from now on we may speak; said once a connection."""
        if not self._rival.is_clear(now_s):
            return None
        held = Held(tuple(self._held), self._is_all)
        self._held.clear()
        self._held_bytes, self._is_all, self._is_open = 0, True, True
        return held

    def _hold(self, received: Received) -> None:
        size_bytes = self._held_bytes + len(received.payload)
        if len(self._held) >= MAX_HELD or size_bytes > MAX_HELD_BYTES:
            self._is_all = False
            return
        self._held_bytes = size_bytes
        self._held.append(received.settled())  # who handles it acknowledges it once more
