"""A broker in memory and links to it, behind the same contract as MQTT, for tests and simulation.

Nothing moves by itself: a published message waits at the broker until `step` or `run` hands it over, and a broken link
reconnects in a step of its own. So a test chooses the order, and the same choices give the same history.
"""

from collections import OrderedDict, deque

from fedloom.errors import LinkError
from fedloom.link.base import (
    MQTT_MAX_PACKET_BYTES,
    Connected,
    Disconnected,
    Limits,
    MakeWill,
    OnEvent,
    QueueFullError,
    Received,
    Sent,
    Subscribed,
    Token,
    Will,
    check_topic,
    matches,
)
from fedloom.link.outgoing import Outgoing, OutgoingQueue


class _Session:
    """What the broker remembers of one client id."""

    def __init__(self) -> None:
        self.filters: set[str] = set()
        self.waiting: deque[tuple[Outgoing, bool]] = deque()
        self.in_flight: OrderedDict[int, tuple[Outgoing, bool]] = OrderedDict()
        self.will: Will | None = None
        self.serial = 0
        self.packet_id = 0


class MemoryBroker:
    """Topics with wildcards, retained messages, wills (without delay), persistent sessions and redelivery."""

    def __init__(self, max_packet_bytes: int = MQTT_MAX_PACKET_BYTES, window: int = 20) -> None:
        """`window`: unacknowledged messages a client (Mosquitto's default is 20)."""
        self.limits = Limits(max_packet_bytes=max_packet_bytes, receive_maximum=window)
        self.links: dict[str, MemoryLink] = {}
        self.running = True
        self._sessions: dict[str, _Session] = {}
        self._retained: dict[str, Outgoing] = {}

    def ready(self) -> list[str]:
        """The client ids for which a step would do something."""
        return [client_id for client_id, link in self.links.items() if self._has_step(link)]

    def step(self, client_id: str | None = None) -> bool:
        """Reconnect one client or deliver one message to it; by default to the first that is ready."""
        candidates = [client_id] if client_id is not None else self.ready()
        if not candidates or not self._has_step(self.links[candidates[0]]):
            return False
        link = self.links[candidates[0]]
        if not link.online:
            self._connect(link)
            return True
        session = self._sessions[link.client_id]
        message, retained = session.waiting.popleft()
        session.packet_id += 1
        session.in_flight[session.packet_id] = (message, retained)
        token = Token(session.serial, session.packet_id)
        link.emit(Received(message.topic, message.payload, retained, token))
        return True

    def run(self) -> int:
        """Step until nothing is ready; returns the number of steps."""
        steps = 0
        while self.step():
            steps += 1
        return steps

    def cut(self, client_id: str, reason: str = "connection lost") -> None:
        """Break a client's connection; its will is published, and its link reconnects in a later step."""
        link = self.links[client_id]
        if not link.online:
            return
        link.online = False
        link.emit(Disconnected(reason))
        session = self._sessions[client_id]
        if session.will is not None:
            self.route(Outgoing(session.will.topic, session.will.payload, session.will.retain))

    def crash(self) -> None:
        """Die, and forget everything."""
        self.running = False
        self._sessions.clear()
        self._retained.clear()
        for link in self.links.values():
            if link.online:
                link.online = False
                link.emit(Disconnected("the broker died"))

    def restart(self) -> None:
        self.running = True

    def route(self, message: Outgoing) -> None:
        """Take a message: keep it if it is to be retained, and put it into the sessions that asked for it."""
        if message.retain and message.payload:
            self._retained[message.topic] = message
        elif message.retain:
            self._retained.pop(message.topic, None)
        for session in self._sessions.values():
            if any(matches(each, message.topic) for each in session.filters):
                session.waiting.append((message, False))

    def subscribe(self, link: "MemoryLink", topic_filter: str) -> None:
        session = self._sessions[link.client_id]
        session.filters.add(topic_filter)
        session.waiting.extend((each, True) for topic, each in self._retained.items() if matches(topic_filter, topic))
        link.emit(Subscribed(topic_filter))

    def has(self, client_id: str, topic_filter: str) -> bool:
        """Whether the broker remembers a subscription."""
        return topic_filter in self._sessions[client_id].filters

    def unsubscribe(self, client_id: str, topic_filter: str) -> None:
        self._sessions[client_id].filters.discard(topic_filter)

    def acknowledge(self, client_id: str, token: Token) -> None:
        session = self._sessions[client_id]
        if token.connection == session.serial:
            session.in_flight.pop(token.packet_id, None)

    def _has_step(self, link: "MemoryLink") -> bool:
        if not link.online:
            return self.running
        session = self._sessions[link.client_id]
        return bool(session.waiting) and len(session.in_flight) < self.limits.receive_maximum

    def _connect(self, link: "MemoryLink") -> None:
        session = self._sessions.setdefault(link.client_id, _Session())
        session.serial += 1
        session.waiting.extendleft(reversed(session.in_flight.values()))
        session.in_flight.clear()
        session.will = link.make_will() if link.make_will else None
        link.connected()


class MemoryLink:
    """See `fedloom.link.base.Link` for the contract."""

    def __init__(
        self,
        broker: MemoryBroker,
        client_id: str,
        on_event: OnEvent,
        *,
        will: MakeWill | None = None,
        max_queued_bytes: int = 64 * 2**20,
    ) -> None:
        self.client_id = client_id
        self.emit = on_event
        self.make_will = will
        self.online = False
        self._broker = broker
        self._filters: dict[str, bool] = {}
        self._forgotten: dict[str, None] = {}
        self._queue = OutgoingQueue(max_queued_bytes)
        self._closed = False

    def start(self) -> None:
        self._broker.links[self.client_id] = self

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, tell: bool = False) -> None:
        check_topic(topic)
        limits = self._broker.limits
        if self._closed:
            raise LinkError("the link is closed")
        if len(payload) > limits.max_payload_bytes(topic):
            limit = limits.max_packet_bytes
            raise LinkError(f"{len(payload)} bytes on {topic}: the broker takes packets of at most {limit} bytes")
        if not self._queue.offer(Outgoing(topic, payload, retain, tell)):
            raise QueueFullError(f"{len(self._queue)} messages wait for the broker already")
        self._send()

    def queued(self, topic: str) -> int:
        return self._queue.count(topic)

    def withdraw(self, topic: str) -> None:
        self._queue.withdraw(topic)

    def subscribe(self, topic_filter: str, *, renew: bool = True) -> None:
        self._forgotten.pop(topic_filter, None)
        self._filters[topic_filter] = renew
        if self.online:
            self._broker.subscribe(self, topic_filter)

    def unsubscribe(self, topic_filter: str) -> None:
        self._filters.pop(topic_filter, None)
        if self.online:
            self._broker.unsubscribe(self.client_id, topic_filter)
        else:
            self._forgotten[topic_filter] = None

    def acknowledge(self, received: Received) -> None:
        if self.online:
            self._broker.acknowledge(self.client_id, received.token)

    def close(self) -> None:
        self._closed = True
        self.online = False
        if self._broker.links.get(self.client_id) is self:
            del self._broker.links[self.client_id]

    def connected(self) -> None:
        """Said by the broker, which has let us in."""
        self.online = True
        self.emit(Connected(self._broker.limits))
        for each in self._forgotten:
            self._broker.unsubscribe(self.client_id, each)
        self._forgotten.clear()
        for each, renew in self._filters.items():
            if renew or not self._broker.has(self.client_id, each):
                self._broker.subscribe(self, each)
        self._send()

    def _send(self) -> None:
        while self.online and (message := self._queue.take(window=1)) is not None:
            self._queue.drop(message)
            self._broker.route(message)
            if message.tell:
                self.emit(Sent(message.topic))
