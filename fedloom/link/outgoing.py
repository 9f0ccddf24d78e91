"""What waits to be sent: a queue bounded in bytes, and the window of what the broker has not acknowledged. No I/O.

paho-mqtt has a queue too, but after a reconnection it sends all of it at once, past the broker's Receive Maximum.
"""

from collections import Counter, OrderedDict, deque
from typing import NamedTuple


class Outgoing(NamedTuple):
    """A message on its way out."""

    topic: str
    payload: bytes
    retain: bool
    tell: bool = False
    """Whether somebody wants to know when the broker has it."""

    @property
    def cost_bytes(self) -> int:
        """What it counts for in the queue's bound, bookkeeping included."""
        return len(self.payload) + len(self.topic) + 256


class OutgoingQueue:
    """First in, first out; what was in flight when a connection broke goes out again first, in its order."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._waiting: deque[Outgoing] = deque()
        self._in_flight: OrderedDict[int, Outgoing] = OrderedDict()
        self._held: Counter[str] = Counter()
        """Messages by topic, from `offer` until the broker has them or they are given up."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_flight)

    def count(self, topic: str) -> int:
        """How many messages on `topic` the broker does not have yet."""
        return self._held[topic]

    def offer(self, message: Outgoing) -> bool:
        """Queue a message, or return False when there is no room. An empty queue takes any message."""
        if self._bytes and self._bytes + message.cost_bytes > self._max_bytes:
            return False
        self._bytes += message.cost_bytes
        self._held[message.topic] += 1
        self._waiting.append(message)
        return True

    def take(self, window: int) -> Outgoing | None:
        """The next message to send, or None when nothing waits or `window` messages are in flight."""
        return self._waiting.popleft() if self._waiting and len(self._in_flight) < window else None

    def sent(self, packet_id: int, message: Outgoing) -> None:
        """A message that was taken has gone out under this id."""
        self._in_flight[packet_id] = message

    def drop(self, message: Outgoing) -> None:
        """A message that was taken will never be sent."""
        self._release(message)

    def withdraw(self, topic: str) -> None:
        """Give up what waits on `topic`; what was taken already goes its way."""
        dead = [message for message in self._waiting if message.topic == topic]
        if dead:
            self._waiting = deque(message for message in self._waiting if message.topic != topic)
        for message in dead:
            self._release(message)

    def acknowledged(self, packet_id: int) -> Outgoing | None:
        """The broker has it, or refuses it for good: None where the id is unknown."""
        message = self._in_flight.pop(packet_id, None)
        if message is not None:
            self._release(message)
        return message

    def connection_lost(self) -> None:
        """What was in flight has to be sent again."""
        self._waiting.extendleft(reversed(self._in_flight.values()))
        self._in_flight.clear()

    def _release(self, message: Outgoing) -> None:
        self._bytes -= message.cost_bytes
        self._held[message.topic] -= 1
        if not self._held[message.topic]:
            del self._held[message.topic]  # topics come and go with models
