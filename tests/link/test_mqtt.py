"""What only MQTT has: limits, logins, TLS, versions, and brokers that misbehave."""

import base64
import hashlib
import queue
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedloom.errors import LinkError
from fedloom.link import mqtt
from fedloom.link.base import Connected, Denied, Disconnected, Event, Received, Subscribed
from fedloom.link.mqtt import MqttConfig, MqttLink
from simulation.broker import Broker, find_mosquitto, start_broker

CONNACK_311 = bytes([0x20, 2, 0, 0])
needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")


class Listener:
    """A link and its events in order."""

    def __init__(self, port: int, client_id: str = "device", **config: object) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        settings = MqttConfig(host="127.0.0.1", port=port, **config)  # type: ignore[arg-type]
        self.link = MqttLink(settings, client_id, self.events.put, retry_s=lambda attempt: 0.01)

    def next(self, kind: type[Event]) -> Event:
        """The next event, which must be of this kind."""
        event = self.events.get(timeout=10)
        assert isinstance(event, kind), event
        return event


Open = Callable[..., Listener]


@pytest.fixture
def open_link() -> Iterator[Open]:
    """Make links; they are closed afterwards."""
    made: list[Listener] = []

    def make(port: int, client_id: str = "device", **config: object) -> Listener:
        made.append(Listener(port, client_id, **config))
        return made[-1]

    yield make
    for each in made:
        each.link.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "fedloom-link"]


@pytest.fixture
def mosquitto_with(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    started: list[Broker] = []

    def start(*lines: str) -> Broker:
        started.append(start_broker(tmp_path, "mosquitto", lines))
        return started[-1]

    yield start
    for broker in started:
        broker.stop()


@needs_mosquitto
def test_the_brokers_packet_limit_is_kept(mosquitto_with, open_link: Open) -> None:
    peer = open_link(mosquitto_with("max_packet_size 5000").port)
    peer.link.subscribe("x")
    peer.link.publish("x", bytes(5000))  # the limit is not known yet
    peer.link.start()
    limits = peer.next(Connected).limits
    assert limits.max_packet_bytes == 5000
    largest = limits.max_payload_bytes("x")
    assert {type(peer.events.get(timeout=10)) for _ in range(2)} == {Denied, Subscribed}
    with pytest.raises(LinkError, match="at most 5000"):
        peer.link.publish("x", bytes(largest + 1))
    peer.link.publish("x", bytes(largest))
    assert len(peer.next(Received).payload) == largest


@needs_mosquitto
def test_the_brokers_receive_maximum_is_kept_when_much_has_queued_up(mosquitto_with, open_link: Open) -> None:
    broker = mosquitto_with("max_inflight_messages 3", "log_type all")
    speaker, listener = open_link(broker.port, "speaker"), open_link(broker.port, "listener")
    listener.link.subscribe("x")
    listener.link.start()
    assert listener.next(Connected).limits.receive_maximum == 3
    listener.next(Subscribed)
    for index in range(100):
        speaker.link.publish("x", b"%d" % index)
    speaker.link.start()
    for index in range(100):
        received = listener.next(Received)
        assert received.payload == b"%d" % index
        listener.link.acknowledge(received)
    speaker.next(Connected)
    assert speaker.events.empty()


@needs_mosquitto
def test_at_most_the_configured_number_of_messages_is_unacknowledged(mosquitto, open_link: Open) -> None:
    listener = open_link(mosquitto.port, "bounded", max_unacknowledged=2)
    speaker = open_link(mosquitto.port, "bounded-speaker")
    listener.link.subscribe("bounded/#")
    for each in (listener, speaker):
        each.link.start()
        each.next(Connected)
    listener.next(Subscribed)
    for index in range(3):
        speaker.link.publish("bounded/x", b"%d" % index)
    first, second = listener.next(Received), listener.next(Received)
    speaker.link.subscribe("bounded/y")
    speaker.next(Subscribed)  # the broker has seen all three
    assert listener.events.empty()
    listener.link.acknowledge(first)
    assert listener.next(Received).payload == b"2"
    listener.link.acknowledge(second)


def password_line(user: str, password: str) -> str:
    salt = b"0123456789ab"
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"{user}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


@needs_mosquitto
@pytest.mark.parametrize("protocol", ["auto", "3.1.1"])
def test_a_wrong_password_is_fatal_and_a_right_one_is_not(mosquitto_with, open_link: Open, tmp_path, protocol) -> None:
    (tmp_path / "users").write_text(password_line("device", "right"))
    (tmp_path / "users").chmod(0o644)
    tmp_path.chmod(0o755)
    broker = mosquitto_with("allow_anonymous false", f"password_file {tmp_path / 'users'}")
    for password, kind in (("wrong", Disconnected), ("right", Connected)):
        secret = tmp_path / password
        secret.touch(mode=0o600)
        secret.write_text(password + "\n")
        peer = open_link(broker.port, password_file=str(secret), username="device", protocol=protocol)
        peer.link.start()
        event = peer.next(kind)
        if isinstance(event, Disconnected):
            assert event.fatal
            assert "refuses us" in event.reason
            with pytest.raises(LinkError, match="closed"):
                peer.link.publish("x", b"")


@needs_mosquitto
def test_what_the_access_list_forbids_is_reported(mosquitto_with, open_link: Open, tmp_path) -> None:
    (tmp_path / "acl").write_text("pattern readwrite allowed/#\n")
    (tmp_path / "acl").chmod(0o644)
    tmp_path.chmod(0o755)
    peer = open_link(mosquitto_with(f"acl_file {tmp_path / 'acl'}").port)
    peer.link.start()
    peer.next(Connected)
    peer.link.publish("allowed/y", b"")
    peer.link.publish("forbidden/y", b"")
    assert peer.next(Denied) == Denied("forbidden/y", "Not authorized")


def test_round_trips_over_loopback_are_not_held_back_by_nagle(broker, open_link: Open) -> None:
    peer = open_link(broker.port, "latency")
    peer.link.subscribe("latency")
    peer.link.start()
    peer.next(Connected)
    peer.next(Subscribed)
    took_s = []
    for _ in range(25):
        began_s = time.perf_counter()
        peer.link.publish("latency", bytes(30_000))
        received = peer.next(Received)
        took_s.append(time.perf_counter() - began_s)
        peer.link.acknowledge(received)
    assert statistics.median(took_s) < 0.02  # with Nagle's algorithm it would be 0.04 and more


def test_amqtt_does_not_confuse_a_reconnecting_client_with_others_retained_messages(amqtt, open_link: Open) -> None:
    owner, other = open_link(amqtt.port, "owner"), open_link(amqtt.port, "other")
    for each, topic in ((owner, "quirk/state"), (other, "quirk/x")):
        each.link.subscribe(topic)
        each.link.start()
        each.next(Connected)
        each.next(Subscribed)
    owner.link.publish("quirk/state", b"kept", retain=True)
    owner.next(Received)
    other.link._connection._client.socket().shutdown(socket.SHUT_RDWR)
    other.next(Disconnected)
    other.next(Connected)
    other.next(Subscribed)
    owner.link.publish("quirk/x", b"end")
    assert other.next(Received).payload == b"end"
    owner.link.publish("quirk/state", b"", retain=True)


class FakeBroker:
    """Serves each connection with `answer(CONNECT packet, socket)`."""

    def __init__(self, answer: Callable[[bytes, socket.socket], None]) -> None:
        self.levels: list[int] = []
        self._answer = answer
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            with connection:
                packet = connection.recv(4096)
                self.levels.append(packet[8])
                self._answer(packet, connection)


@pytest.fixture
def fake_broker() -> Iterator[Callable[[Callable[[bytes, socket.socket], None]], FakeBroker]]:
    made: list[FakeBroker] = []

    def make(answer: Callable[[bytes, socket.socket], None]) -> FakeBroker:
        made.append(FakeBroker(answer))
        return made[-1]

    yield make
    for each in made:
        each.close()


def hang_up_on_5(packet: bytes, connection: socket.socket) -> None:
    if packet[8] == 4:
        connection.sendall(CONNACK_311)


def refuse_5_as_311(packet: bytes, connection: socket.socket) -> None:
    connection.sendall(CONNACK_311 if packet[8] == 4 else bytes([0x20, 2, 0, 1]))


@pytest.mark.parametrize("answer", [hang_up_on_5, refuse_5_as_311])
def test_falls_back_to_311_and_remembers_it(fake_broker, open_link: Open, answer) -> None:
    server = fake_broker(answer)
    peer = open_link(server.port)
    peer.link.start()
    assert peer.next(Connected).limits.protocol == 4
    peer.next(Disconnected)
    peer.next(Connected)
    assert server.levels[:3] == [5, 4, 4]


def test_a_silent_broker_is_given_up(fake_broker, open_link: Open, monkeypatch) -> None:
    monkeypatch.setattr(mqtt, "CONNECT_TIMEOUT_S", 0.1)
    server = fake_broker(lambda packet, connection: connection.recv(1) and None)
    peer = open_link(server.port, protocol="5", keepalive_s=1)
    peer.link.start()
    assert "no answer" in peer.next(Disconnected).reason


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x20\xff\xff\xff\xff\x01",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x20\x03\x00\x11\x00",
        b"\xf0\x00",
        b"\x20\x00",
    ],
)
def test_garbage_from_a_broker_ends_the_connection_only(fake_broker, open_link: Open, garbage) -> None:
    server = fake_broker(lambda packet, connection: connection.sendall(garbage))
    peer = open_link(server.port)
    peer.link.start()
    for _ in range(2):
        assert not peer.next(Disconnected).fatal


def subscribe_and_leave(packet: bytes, connection: socket.socket) -> None:
    """Let the client in, refuse its subscription, then say why it has to go."""
    connection.sendall(bytes([0x20, 3, 0, 0, 0]))
    packet_id = connection.recv(4096)[2:4]
    connection.sendall(bytes([0x90, 4, *packet_id, 0, 0x87]))
    connection.sendall(bytes([0xE0, 2, 0x8E, 0]))


def test_a_refused_subscription_and_a_brokers_reason_to_go_are_reported(fake_broker, open_link: Open) -> None:
    peer = open_link(fake_broker(subscribe_and_leave).port)
    peer.link.subscribe("x")
    peer.link.start()
    peer.next(Connected)
    assert peer.next(Denied) == Denied("x", "Not authorized")
    assert peer.next(Disconnected) == Disconnected("the broker says: Session taken over", taken_over=True)


def test_an_unreachable_broker_is_tried_again_until_it_is_there(open_link: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    peer = open_link(port)
    peer.link.start()
    for _ in range(3):
        event = peer.next(Disconnected)
        assert not event.fatal
        assert "Connection refused" in event.reason
