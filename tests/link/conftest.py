"""Four stages for the link's contract: in memory, Mosquitto with MQTT 5 and 3.1.1, amqtt."""

import contextlib
import queue
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

from fedloom.link.base import Connected, Event, Link, MakeWill, Received, Subscribed
from fedloom.link.memory import MemoryBroker, MemoryLink
from fedloom.link.mqtt import MqttConfig, MqttLink
from simulation.broker import Broker, find_mosquitto, start_broker

DEADLINE_S = 10.0
Kind = TypeVar("Kind")


class Traits(NamedTuple):
    """What a broker does, where brokers differ."""

    redelivers: bool = True
    """A message that was not acknowledged comes again after a reconnection. amqtt drops it."""
    marks_queued_as_retained: bool = False
    """What was queued for an absent client arrives flagged as retained. amqtt does so."""
    protocol: int = 5


class Peer:
    """A link and what it has said."""

    def __init__(self, stage: "Stage") -> None:
        self.stage = stage
        self.events: list[Event] = []
        self.inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.link: Link

    def until(self, condition: Callable[[], bool]) -> None:
        """Let things happen until the condition holds; fails at the deadline."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            self.stage.turn(self, deadline)
            while not self.inbox.empty():
                self.events.append(self.inbox.get())

    def all(self, kind: type[Kind]) -> list[Kind]:
        return [event for event in self.events if isinstance(event, kind)]

    def expect(self, kind: type[Kind], count: int = 1) -> list[Kind]:
        """Wait for so many events of a kind, counted from the beginning."""
        self.until(lambda: len(self.all(kind)) >= count)
        return self.all(kind)

    def payloads(self) -> list[bytes]:
        return [event.payload for event in self.all(Received)]

    def expect_payload(self, payload: bytes) -> Received:
        """Wait for a message; acknowledges nothing."""
        self.until(lambda: payload in self.payloads())
        return next(event for event in self.all(Received) if event.payload == payload)


class Stage:
    """A broker, and how to make links to it and break them."""

    traits = Traits()

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.prefix = f"t{secrets.token_hex(4)}"

    def peer(self, name: str, *filters: str, will: MakeWill | None = None) -> Peer:
        """A connected peer with these subscriptions in place; filters are below the test's own prefix."""
        peer = self.idle_peer(name, will)
        for each in filters:
            peer.link.subscribe(f"{self.prefix}/{each}")
        peer.link.start()
        peer.expect(Connected)
        peer.expect(Subscribed, len(filters))
        return peer

    def idle_peer(self, name: str, will: MakeWill | None = None) -> Peer:
        """One whose link is not started."""
        peer = Peer(self)
        peer.link = self.make_link(f"{self.prefix}{name}", peer.inbox.put, will)
        self.peers.append(peer)
        return peer

    def make_link(self, client_id: str, on_event: Callable[[Event], None], will: MakeWill | None) -> Link:
        raise NotImplementedError

    def turn(self, peer: Peer, deadline: float) -> None:
        raise NotImplementedError

    def cut(self, peer: Peer) -> None:
        raise NotImplementedError

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """The broker stands still, so that all that is sent to it meanwhile reaches it at once."""
        raise NotImplementedError

    def crash(self) -> None:
        raise NotImplementedError

    def restart(self) -> None:
        raise NotImplementedError


class MemoryStage(Stage):
    def __init__(self) -> None:
        super().__init__()
        self.broker = MemoryBroker()

    def make_link(self, client_id: str, on_event: Callable[[Event], None], will: MakeWill | None) -> Link:
        return MemoryLink(self.broker, client_id, on_event, will=will)

    def turn(self, peer: Peer, deadline: float) -> None:
        if not self.broker.step() and peer.inbox.empty():
            pytest.fail(f"nothing more will happen; so far: {peer.events}")

    def cut(self, peer: Peer) -> None:
        assert isinstance(peer.link, MemoryLink)
        self.broker.cut(peer.link.client_id)

    def paused(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()  # it moves in `turn` alone

    def crash(self) -> None:
        self.broker.crash()

    def restart(self) -> None:
        self.broker.restart()


class MqttStage(Stage):
    def __init__(self, broker: Broker, traits: Traits, protocol: str) -> None:
        super().__init__()
        self.broker = broker
        self.traits = traits
        self.config = MqttConfig(host=broker.host, port=broker.port, protocol=protocol)  # type: ignore[arg-type]

    def make_link(self, client_id: str, on_event: Callable[[Event], None], will: MakeWill | None) -> Link:
        return MqttLink(self.config, client_id, on_event, will=will, retry_s=lambda attempt: 0.02)

    def turn(self, peer: Peer, deadline: float) -> None:
        with contextlib.suppress(queue.Empty):
            peer.events.append(peer.inbox.get(timeout=0.02))
        if time.monotonic() > deadline:
            pytest.fail(f"waited {DEADLINE_S} s; so far: {peer.events}")

    def cut(self, peer: Peer) -> None:
        """As if the network had gone: the broker sees the end of the stream without a DISCONNECT."""
        peer.link._connection._client.socket().shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        process = self.broker._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def crash(self) -> None:
        self.broker.kill()

    def restart(self) -> None:
        self.broker.restart()


STAGES = {
    "memory": Traits(),
    "mosquitto-5": Traits(protocol=5),
    "mosquitto-3.1.1": Traits(protocol=4),
    "amqtt-3.1.1": Traits(protocol=4, redelivers=False, marks_queued_as_retained=True),
}


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """On the session's brokers."""
    yield from _open(request.param, lambda kind: request.getfixturevalue(kind))


@pytest.fixture(params=STAGES)
def fragile_stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """With a broker of its own, to be killed."""
    with contextlib.ExitStack() as stack:

        def start(kind: str) -> Broker:
            if kind == "mosquitto" and find_mosquitto() is None:
                pytest.skip("mosquitto is not installed")
            return stack.enter_context(start_broker(tmp_path, kind))  # type: ignore[arg-type]

        yield from _open(request.param, start)


def _open(name: str, broker_of: Callable[[str], Broker]) -> Iterator[Stage]:
    if name == "memory":
        stage: Stage = MemoryStage()
    else:
        kind, protocol = name.split("-")
        stage = MqttStage(broker_of(kind), STAGES[name], "auto" if kind == "amqtt" else protocol)
    yield stage
    for peer in stage.peers:
        peer.link.close()
