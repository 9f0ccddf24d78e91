"""The part of a link that outlives its connections: queue, subscriptions, the network thread, and trying again.

One thread runs one connection after the other. Calls from other threads only touch the queue and the command list, and
wake that thread; so whatever the connection is made of needs no locks.
"""

import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from fedloom.errors import LinkError
from fedloom.link.backoff import draw, full_jitter_s
from fedloom.link.base import Connected, Disconnected, Limits, OnEvent, QueueFullError, Received, Token, check_topic
from fedloom.link.outgoing import Outgoing, OutgoingQueue
from fedloom.rarely import is_told

CLOSE_TIMEOUT_S = 2.0
"""What `close` allows for sending what is queued."""
STABLE_S = 10.0
"""A connection that lived so long was a good one: backoff starts again from nothing."""
MAX_INBOUND_PACKET_BYTES = 256 * 1024
"""Larger packets are not sent to us (MQTT 5), or dropped when they come: twice a frame of 120 KiB and its topic."""
JOIN_TIMEOUT_S = 15.0
"""The longest that a connection may take to notice that the link is closing: name resolution and TLS block."""

log = logging.getLogger(__name__)


class End(NamedTuple):
    """How a connection ended."""

    reason: str
    connected: bool = False
    """It stood for a while."""
    unanswered: bool = False
    """The broker hung up on us before answering, or does not know the protocol."""
    hopeless: bool = False
    """Trying again with the same configuration will end the same way."""
    taken_over: bool = False
    """Another client has connected with our id."""


class Connection(Protocol):
    """One connection, run by the network thread."""

    live: bool
    """The broker has let us in; read by other threads."""

    def run(self) -> End: ...
    def subscribe(self, filters: list[str]) -> None: ...
    def unsubscribe(self, filters: list[str]) -> None: ...
    def acknowledge(self, token: Token) -> None: ...


def default_retry_s(attempt: int) -> float:
    """Half a second at first, half a minute at most, with full jitter."""
    return full_jitter_s(attempt, draw(), first_s=0.5, cap_s=30.0)


class ReconnectingLink:
    """See `fedloom.link.base.Link` for the contract."""

    def __init__(
        self,
        connect: "Callable[[ReconnectingLink, int, int], Connection]",
        protocols: tuple[int, ...],
        max_queued_bytes: int,
        on_event: OnEvent,
        retry_s: Callable[[int], float],
    ) -> None:
        """`connect(link, protocol, serial)` makes a connection; `protocols` are tried in turn until one is answered."""
        self.emit = on_event
        self.lock = threading.Lock()
        self.queue = OutgoingQueue(max_queued_bytes)
        """Under `lock`."""
        self.filters: dict[str, bool] = {}
        """With whether each is to be renewed at every connection."""
        self.confirmed: set[str] = set()
        """Filters that the broker's session holds; for the network thread alone."""
        self.forgotten: dict[str, None] = {}
        """Filters that the broker's session may still hold."""
        self.oversized = 0
        """Messages that were dropped for their size."""
        self.closing = threading.Event()
        self.wake_reader, self._wake_writer = socket.socketpair()
        self.wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._commands: deque[Callable[[Connection], None]] = deque()
        self._connect = connect
        self._protocols = protocols
        self._retry_s = retry_s
        self._connection: Connection | None = None
        self._serial = 0
        self._limits = Limits()
        self._thread = threading.Thread(target=self._run, name="fedloom-link", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, tell: bool = False) -> None:
        check_topic(topic)
        if self.closing.is_set():
            raise LinkError("the link is closed")
        if len(payload) > self._limits.max_payload_bytes(topic):
            limit = self._limits.max_packet_bytes
            raise LinkError(f"{len(payload)} bytes on {topic}: the broker takes packets of at most {limit} bytes")
        with self.lock:
            if not self.queue.offer(Outgoing(topic, payload, retain, tell)):
                raise QueueFullError(f"{len(self.queue)} messages wait for the broker already")
        self._wake()

    def queued(self, topic: str) -> int:
        with self.lock:
            return self.queue.count(topic)

    def withdraw(self, topic: str) -> None:
        with self.lock:
            self.queue.withdraw(topic)

    def subscribe(self, topic_filter: str, *, renew: bool = True) -> None:
        self.forgotten.pop(topic_filter, None)
        self.filters[topic_filter] = renew
        self._command(lambda connection: connection.subscribe([topic_filter]))

    def unsubscribe(self, topic_filter: str) -> None:
        self.filters.pop(topic_filter, None)
        self.forgotten[topic_filter] = None
        self._command(lambda connection: connection.unsubscribe([topic_filter]))

    def acknowledge(self, received: Received) -> None:
        self._command(lambda connection: connection.acknowledge(received.token))

    def close(self) -> None:
        self.closing.set()
        self._wake()
        if self._thread.ident is not None:
            self._thread.join(JOIN_TIMEOUT_S)
        if not self._thread.is_alive():
            self.wake_reader.close()
            self._wake_writer.close()

    def connected(self, limits: Limits) -> None:
        """Said by the connection: the broker has let us in."""
        self._limits = limits
        self.emit(Connected(limits))

    def received(self, message: Received) -> None:
        """Said by the connection: a message has come. One above our bound, which not every broker keeps, is dropped."""
        if len(message.payload) <= MAX_INBOUND_PACKET_BYTES:
            self.emit(message)
            return
        self.oversized += 1
        if is_told(self.oversized):
            text = "link.oversized topic=%r bytes=%d count=%d"
            log.warning(text, message.topic, len(message.payload), self.oversized)
        self.acknowledge(message)

    def commands(self) -> Iterable[Callable[[Connection], None]]:
        """What other threads have asked for since the last call."""
        while self._commands:
            yield self._commands.popleft()

    def _command(self, command: Callable[[Connection], None]) -> None:
        """Have the network thread do it, if there is a connection: a new one begins with `filters` and `forgotten`."""
        connection = self._connection
        if connection is not None and connection.live:
            self._commands.append(command)
            self._wake()

    def _wake(self) -> None:
        try:
            self._wake_writer.send(b"\0")
        except OSError:
            return  # full: the thread is awake already; closed: there is none

    def _run(self) -> None:
        attempt = 0
        ever_connected = False
        while not self.closing.is_set():
            began_s = time.monotonic()
            end = self._attempt()
            with self.lock:
                self.queue.connection_lost()
            if self.closing.is_set():
                return
            ever_connected = ever_connected or end.connected
            fatal = end.hopeless and not ever_connected
            log.warning("link.disconnected reason=%r fatal=%s", end.reason, fatal)
            if fatal:
                self.closing.set()
            self.emit(Disconnected(end.reason, fatal, end.taken_over))
            attempt = 0 if time.monotonic() - began_s > STABLE_S else attempt + 1
            self.closing.wait(self._retry_s(attempt))

    def _attempt(self) -> End:
        """One connection from beginning to end; a second one when the first protocol was not answered."""
        end = End("no protocol")
        for protocol in self._protocols:
            self._serial += 1
            self._commands.clear()
            try:
                self._connection = self._connect(self, protocol, self._serial)
                end = self._connection.run()
            except Exception as error:  # a thread that dies of it would leave a daemon that waits for ever
                log.warning("link.failed", exc_info=True)
                return End(f"{type(error).__name__}: {error}", hopeless=True)
            if end.connected:
                self._protocols = (protocol,)
            if not end.unanswered or self.closing.is_set():
                break
        return end
