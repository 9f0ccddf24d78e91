"""The shipped broker configuration: who may connect, and who may use which topic."""

import queue
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

pytestmark = pytest.mark.broker

A = "aa" * 16
B = "bb" * 16
FEDERATION = "fedloom/0123456789abcdef0123456789abcdef"
NOT_AUTHORISED = 0x87
TIMEOUT_S = 10


class Client:
    """A connected MQTT 5 client whose calls wait for the broker's answer."""

    def __init__(self, port: int, context: ssl.SSLContext, client_id: str) -> None:
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.disconnected: queue.Queue[int] = queue.Queue()
        self._answers: queue.Queue[Any] = queue.Queue()
        self.paho = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
        self.paho.tls_set_context(context)
        self.paho.on_connect = lambda _c, _u, _f, reason, properties: self._answers.put((reason, properties))
        self.paho.on_subscribe = lambda _c, _u, _m, reasons, _p: self._answers.put(reasons)
        self.paho.on_publish = lambda _c, _u, _m, reason, _p: self._answers.put(reason)
        self.paho.on_message = lambda _c, _u, message: self.messages.put((message.topic, message.payload))
        self.paho.on_disconnect = lambda _c, _u, _f, reason, _p: self.disconnected.put(reason.value)
        self.paho.connect("localhost", port, properties=_no_session())
        self.paho.loop_start()
        reason, self.connack = self._answers.get(timeout=TIMEOUT_S)
        assert not reason.is_failure, reason

    def publish(self, topic: str, payload: bytes = b"x", retain: bool = False) -> int:
        """The reason code of the PUBACK."""
        self.paho.publish(topic, payload, qos=1, retain=retain)
        return int(self._answers.get(timeout=TIMEOUT_S).value)

    def subscribe(self, topic: str) -> int:
        """The reason code of the SUBACK."""
        self.paho.subscribe(topic, qos=1)
        return int(self._answers.get(timeout=TIMEOUT_S)[0].value)

    def next_message(self) -> tuple[str, bytes]:
        return self.messages.get(timeout=TIMEOUT_S)

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()


def _no_session() -> Properties:
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 0
    return properties


def _context(authority: Path, identity: tuple[Path, Path] | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority)
    if identity:
        context.load_cert_chain(*identity)
    return context


@pytest.fixture
def connect(broker: Any) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def connect_as(name: str, client_id: str | None = None) -> Client:
        context = _context(broker.authority.file, broker.authority.issue(name))
        clients.append(Client(broker.port, context, client_id or name))
        return clients[-1]

    yield connect_as
    for client in clients:
        client.close()


def test_updates_travel_from_a_device_to_the_aggregator(connect: Callable[..., Client]) -> None:
    aggregator, device = connect("fedloom-aggregator"), connect(A)
    assert aggregator.subscribe(f"$share/fedloom/{FEDERATION}/d/+/up") == 1
    assert aggregator.subscribe(f"{FEDERATION}/d/+/state") == 1

    assert device.publish(f"{FEDERATION}/d/{A}/up", b"update") == 0
    assert aggregator.next_message() == (f"{FEDERATION}/d/{A}/up", b"update")
    assert device.publish(f"{FEDERATION}/d/{A}/state", b"ready", retain=True) == 0
    assert aggregator.next_message() == (f"{FEDERATION}/d/{A}/state", b"ready")


@pytest.mark.parametrize("topic", [f"d/{B}/up", f"d/{B}/state", f"d/{A}/down", f"d/{B}/down", "all/manifest", "other"])
def test_a_device_may_not_write(connect: Callable[..., Client], topic: str) -> None:
    assert connect(A).publish(f"{FEDERATION}/{topic}") == NOT_AUTHORISED


def test_a_device_reads_its_own_topics_and_no_others(connect: Callable[..., Client]) -> None:
    aggregator, a, b = connect("fedloom-aggregator"), connect(A), connect(B)
    for topic in (f"{FEDERATION}/d/+/down", f"{FEDERATION}/d/{B}/down", f"{FEDERATION}/d/+/up", "fedloom/#", "#"):
        a.subscribe(topic)
    b.subscribe(f"{FEDERATION}/d/{B}/down")

    assert aggregator.publish(f"{FEDERATION}/d/{B}/down", b"for b") == 0
    assert b.publish(f"{FEDERATION}/d/{B}/up", b"from b") in (0, 0x10)
    assert aggregator.publish(f"{FEDERATION}/d/{A}/down", b"for a") == 0
    assert b.next_message() == (f"{FEDERATION}/d/{B}/down", b"for b")
    # The broker keeps a publisher's order, so whatever it wanted to leak has come before this one.
    assert a.next_message() == (f"{FEDERATION}/d/{A}/down", b"for a")


def test_every_device_reads_what_the_aggregator_publishes_to_all(connect: Callable[..., Client]) -> None:
    aggregator = connect("fedloom-aggregator")
    assert aggregator.publish(f"{FEDERATION}/all/manifest", b"manifest", retain=True) in (0, 0x10)
    for name in (A, B):
        device = connect(name)
        device.subscribe(f"{FEDERATION}/all/#")
        assert device.next_message() == (f"{FEDERATION}/all/manifest", b"manifest")


def test_a_device_cannot_throw_another_off_by_taking_its_client_id(connect: Callable[..., Client]) -> None:
    a = connect(A)
    connect(B, client_id=A)
    assert a.publish(f"{FEDERATION}/d/{A}/up") in (0, 0x10)
    assert a.disconnected.empty()


def test_a_name_with_wildcards_opens_nothing(connect: Callable[..., Client]) -> None:
    assert connect("+").publish(f"{FEDERATION}/d/{B}/up") == NOT_AUTHORISED


def test_limits_are_announced(connect: Callable[..., Client]) -> None:
    connack = connect(A).connack
    assert connack.MaximumPacketSize == 131072
    assert connack.ReceiveMaximum == 32


@pytest.mark.parametrize("who", ["nobody", "stranger"])
def test_no_certificate_of_ours_no_connection(broker: Any, tmp_path: Path, who: str) -> None:
    another = type(broker.authority)(tmp_path, "another authority")
    identity = another.issue(A) if who == "stranger" else None
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=A, protocol=mqtt.MQTTv5)
    client.tls_set_context(_context(broker.authority.file, identity))
    accepted: list[Any] = []
    client.on_connect = lambda _c, _u, _f, reason, _p: accepted.append(reason)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _run_until_refused(client, broker.port)
    assert not accepted


def _run_until_refused(client: mqtt.Client, port: int) -> None:
    """With TLS 1.3 the refusal arrives with the first read after the handshake, else during the handshake."""
    client.connect("localhost", port)
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if client.loop(timeout=1.0) != mqtt.MQTT_ERR_SUCCESS:
            raise ConnectionError
    pytest.fail("neither accepted nor refused")
