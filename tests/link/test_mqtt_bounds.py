"""What a link over MQTT keeps to, whatever the broker does: sizes, its will, its queue, and telling its end."""

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from fedloom.link import mqtt
from fedloom.link.base import Connected, Disconnected, Event, MakeWill, Received, Will
from fedloom.link.mqtt import MqttConfig, MqttLink

CONNACK = {5: bytes([0x20, 3, 0, 0, 0]), 4: bytes([0x20, 2, 0, 0])}
BOUND = 256 * 1024
Script = Callable[[socket.socket], None]


class Host:
    """A broker that lets one client in, and then follows a script."""

    def __init__(self, script: Script, protocol: str) -> None:
        self.connect = b""
        self._level = 5 if protocol == "5" else 4
        self._script = script
        self._server = socket.create_server(("127.0.0.1", 0))
        self.config = MqttConfig("127.0.0.1", self._server.getsockname()[1], protocol=protocol)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._server.accept()
        with connection, self._server:
            connection.settimeout(10)
            self.connect = connection.recv(4096)
            connection.sendall(CONNACK[self._level])
            self._script(connection)

    def join(self) -> None:
        self._thread.join(10)


@pytest.fixture
def open_link() -> Iterator[Callable[..., tuple[MqttLink, "queue.SimpleQueue[Event]"]]]:
    links: list[MqttLink] = []

    def make(config: MqttConfig, will: MakeWill | None = None) -> tuple[MqttLink, "queue.SimpleQueue[Event]"]:
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        links.append(MqttLink(config, "device", events.put, will=will, retry_s=lambda attempt: 60.0))
        return links[-1], events

    yield make
    for link in links:
        link.close()


def read_all(connection: socket.socket) -> bytes:
    """Until the client hangs up."""
    data = b""
    while more := connection.recv(65_536):
        data += more
    return data


def publish_packet(packet_id: int, payload: bytes) -> bytes:
    body = b"\0\1x" + packet_id.to_bytes(2, "big") + payload
    left, length = len(body), b""
    while left or not length:
        left, digit = divmod(left, 128)
        length += bytes([digit | (0x80 if left else 0)])
    return b"\x32" + length + body


def test_connect_says_our_bounds_and_the_wills_delay(open_link) -> None:
    host = Host(read_all, "5")
    link, events = open_link(host.config, lambda: Will("state", b"lost", delay_s=77))
    link.start()
    assert isinstance(events.get(timeout=10), Connected)
    assert b"\x27" + BOUND.to_bytes(4, "big") in host.connect  # Maximum Packet Size
    assert b"\x21" + (128).to_bytes(2, "big") in host.connect  # Receive Maximum
    assert b"\x18" + (77).to_bytes(4, "big") in host.connect  # Will Delay Interval


def test_what_is_too_large_is_dropped_counted_and_acknowledged(open_link) -> None:
    heard: list[bytes] = []

    def script(connection: socket.socket) -> None:
        connection.sendall(publish_packet(1, bytes(BOUND + 1)) + publish_packet(2, b"small"))
        heard.append(connection.recv(4))

    host = Host(script, "3.1.1")
    link, events = open_link(host.config)
    link.start()
    assert isinstance(events.get(timeout=10), Connected)
    received = events.get(timeout=10)
    assert isinstance(received, Received)
    assert received.payload == b"small"
    host.join()
    assert heard == [b"\x40\x02\x00\x01"]  # PUBACK
    assert link.oversized == 1


def test_a_close_that_cannot_send_everything_leaves_the_word_to_the_will(open_link, monkeypatch) -> None:
    monkeypatch.setattr(mqtt, "CLOSE_TIMEOUT_S", 0.2)
    heard: list[bytes] = []
    host = Host(lambda connection: heard.append(read_all(connection)), "5")  # acknowledges nothing
    link, events = open_link(host.config)
    link.publish("x", b"goodbye")
    link.start()
    assert isinstance(events.get(timeout=10), Connected)
    link.close()
    host.join()
    assert heard[0].endswith(b"goodbye")  # and no DISCONNECT


def test_little_is_past_recall_on_a_link_that_does_not_move(open_link) -> None:
    done = threading.Event()
    host = Host(lambda connection: done.wait(10) and None, "5")  # reads nothing
    link, events = open_link(host.config)
    link.start()
    assert isinstance(events.get(timeout=10), Connected)
    for _ in range(60):
        link.publish("x", bytes(120 * 1024))
    _until_still(lambda: len(link.queue._in_flight))
    assert link.queued("x") == 60
    link.withdraw("x")
    assert 0 < link.queued("x") < 45
    done.set()
    host.join()


def _until_still(value: Callable[[], int]) -> None:
    """Until a number above 0 has not changed for ten looks."""
    seen, deadline = [0], time.monotonic() + 10
    while (len(set(seen[-10:])) > 1 or len(seen) < 10 or not seen[-1]) and time.monotonic() < deadline:
        seen.append(value())
        time.sleep(0.01)


@pytest.mark.parametrize("host", ["", "a" * 70, "a..b"])
def test_what_is_no_host_name_is_fatal(open_link, host: str) -> None:
    link, events = open_link(MqttConfig(host))
    link.start()
    event = events.get(timeout=10)
    assert isinstance(event, Disconnected)
    assert event.fatal
    assert "is not a host name" in event.reason


def test_whatever_is_raised_before_the_first_connection_is_told(open_link) -> None:
    def make_will() -> Will:
        raise RuntimeError("no number left")

    link, events = open_link(MqttConfig("127.0.0.1"), make_will)
    link.start()
    assert events.get(timeout=10) == Disconnected("RuntimeError: no number left", fatal=True)
