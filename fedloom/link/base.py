"""What every link offers: MQTT's semantics at QoS 1, as events and a handful of calls.

Delivery is at least once and nothing rests on it: messages may be lost with a broker's state, repeated, or late.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from fedloom.errors import LinkError

MQTT_MAX_PACKET_BYTES = 268_435_460
"""The largest packet that MQTT's framing can express: 5 bytes of fixed header and 2**28 - 1 of the rest."""


class QueueFullError(LinkError):
    """The link's own queue has no room: nothing was queued; publish again when some of it has left."""


class Limits(NamedTuple):
    """What the broker takes on this connection."""

    max_packet_bytes: int = MQTT_MAX_PACKET_BYTES
    receive_maximum: int = 65_535
    """Unacknowledged publishes that the broker takes at once."""
    protocol: int = 5
    """5 for MQTT 5, 4 for MQTT 3.1.1 (the protocol level on the wire)."""

    def max_payload_bytes(self, topic: str) -> int:
        """The largest payload that fits a packet on `topic`."""
        return self.max_packet_bytes - _PUBLISH_OVERHEAD - len(topic.encode())


_PUBLISH_OVERHEAD = 1 + 4 + 2 + 2 + 1  # type, remaining length (at its longest), topic length, packet id, no properties


class Connected(NamedTuple):
    """A connection stands; the subscriptions are being renewed."""

    limits: Limits


class Disconnected(NamedTuple):
    """A connection broke, or an attempt failed. The link goes on trying by itself, unless it is fatal."""

    reason: str
    fatal: bool = False
    """Never connected, and trying again cannot help (wrong password, untrusted certificate): the link has stopped."""
    taken_over: bool = False
    """Another client has connected with our id (MQTT 5 alone says so)."""


class Subscribed(NamedTuple):
    """The broker has confirmed a subscription; said again after each connection."""

    topic_filter: str


class Denied(NamedTuple):
    """The broker refused a subscription, or refused or could not take a publish (MQTT 3.1.1 never says so)."""

    topic: str
    reason: str


class Sent(NamedTuple):
    """The broker has, or has refused, a message that was published with `tell`."""

    topic: str


class Token(NamedTuple):
    """Names a received message to `acknowledge`; void once its connection is gone."""

    connection: int
    packet_id: int


class Received(NamedTuple):
    """A message; the broker sends it again after a reconnection until it is acknowledged."""

    topic: str
    payload: bytes
    retained: bool
    token: Token

    def settled(self) -> "Received":
        """The same once it was acknowledged: to do so again would be about whatever has its packet id by then."""
        return self._replace(token=Token(self.token.connection, 0))


Event = Connected | Disconnected | Subscribed | Denied | Sent | Received
OnEvent = Callable[[Event], None]
"""Called from the network thread: it must only put the event into a queue."""


class Will(NamedTuple):
    """What the broker publishes when this link dies without saying goodbye."""

    topic: str
    payload: bytes
    retain: bool = True
    delay_s: int = 30
    """Seconds of silence before it is published; MQTT 3.1.1 has no delay."""


MakeWill = Callable[[], Will]
"""Called at each connection, because a signed will carries a sequence number."""


def check_topic(topic: str) -> None:
    """Refuse what no broker would take as the topic of a message.

    Raises:
        LinkError: it is empty, too long, or holds a wildcard or a NUL.
    """
    if not 0 < len(topic.encode()) <= 65_535 or any(mark in topic for mark in "+#\0"):
        raise LinkError(f"cannot publish on the topic {topic[:80]!r}")


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a subscription covers a topic. Source: MQTT 3.1.1, section 4.7.

    >>> matches("a/+/#", "a/b"), matches("a/+", "a/b/c"), matches("#", "$SYS/x")
    (True, False, False)
    """
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if levels[0].startswith("$") and wanted[0] in ("+", "#"):
        return False
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


class Link(Protocol):
    """Calls may come from any thread and never block, except `close`."""

    def start(self) -> None:
        """Connect, and stay connected."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, tell: bool = False) -> None:
        """Queue a message at QoS 1; it is sent again until the broker has acknowledged it, `Sent` if we are to `tell`.

        Raises:
            QueueFullError: the queue's bound is reached; nothing was queued.
            LinkError: the packet is larger than the broker takes, or the link is closed.
        """

    def queued(self, topic: str) -> int:
        """How many of the messages published on `topic` the broker does not have yet: on their way, or waiting."""

    def withdraw(self, topic: str) -> None:
        """Give up the messages on `topic` that are not on the wire yet, so that nothing waits behind them."""

    def subscribe(self, topic_filter: str, *, renew: bool = True) -> None:
        """Subscribe at QoS 1, now and after every connection; then retained messages come again.

        Without `renew` not where the broker still has the subscription: what it was sending it goes on sending.
        """

    def unsubscribe(self, topic_filter: str) -> None:
        """Forget a subscription."""

    def acknowledge(self, received: Received) -> None:
        """Tell the broker that a message is dealt with.

        A broker stops sending when too many messages wait for this (Mosquitto's default is 20), so acknowledge each
        frame of a chunked transfer when it is stored, not when the transfer is complete.
        """

    def close(self) -> None:
        """Send what is queued, then say goodbye, so that no will is published. No event follows.

        What could not be sent in a bounded time is given up, and the will is left to speak in its place.
        """
