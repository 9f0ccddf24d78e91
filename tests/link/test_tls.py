"""TLS to the broker: a right certificate, a wrong one, and a client certificate that is asked for."""

import datetime
import itertools
import queue
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fedloom.link.base import Connected, Disconnected, Event, Received, Subscribed
from fedloom.link.config import Tls
from fedloom.link.mqtt import MqttConfig, MqttLink
from simulation.broker import find_mosquitto, start_broker

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")


class Authority:
    """A certificate authority that writes what it issues into a directory."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.path = directory / f"{name}.pem"
        self.path.write_bytes(_pem(self._sign(self.name, self.key, authority=True)))

    def issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, authority=False)
        paths = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        paths[0].write_bytes(_pem(certificate))
        paths[1].touch(mode=0o600)
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths

    def _sign(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
        builder = builder.not_valid_after(now + datetime.timedelta(hours=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        return builder.add_extension(names, critical=False).sign(self.key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Authority]]:
    """A Mosquitto that speaks TLS only and asks for client certificates."""
    directory = tmp_path_factory.mktemp("tls")
    authority = Authority(directory, "authority")
    certificate, key = authority.issue("broker")
    lines = [f"cafile {authority.path}", f"certfile {certificate}", f"keyfile {key}", "require_certificate true"]
    with start_broker(directory, "mosquitto", lines) as broker:
        yield broker.port, authority


def first_events(port: int, tls: Tls | None, count: int = 1) -> list[Event]:
    return list(itertools.islice(iter_events(port, tls), count))


def iter_events(port: int, tls: Tls | None, host: str = "127.0.0.1") -> Iterator[Event]:
    """Of a link that subscribes to what it publishes, until no more are wanted."""
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    config = MqttConfig(host=host, port=port, tls=tls)
    link = MqttLink(config, "device", events.put, retry_s=lambda attempt: 0.01)
    link.subscribe("x")
    link.publish("x", bytes(200_000))
    link.start()
    try:
        while True:
            yield events.get(timeout=10)
    finally:
        link.close()


def test_a_large_message_goes_there_and_back(secured) -> None:
    port, authority = secured
    certificate, key = authority.issue("device")
    events = first_events(port, Tls(ca=str(authority.path), cert=str(certificate), key=str(key)), 3)
    assert [type(event) for event in events] == [Connected, Subscribed, Received]
    assert len(events[-1].payload) == 200_000


def test_a_broker_of_another_authority_is_not_trusted(secured, tmp_path) -> None:
    port, _ = secured
    (event,) = first_events(port, Tls(ca=str(Authority(tmp_path, "other").path)))
    assert isinstance(event, Disconnected)
    assert event.fatal
    assert "CERTIFICATE_VERIFY_FAILED" in event.reason


def test_a_broker_with_a_certificate_for_another_name_is_not_trusted(secured) -> None:
    port, authority = secured  # its certificate is for 127.0.0.1
    event = next(iter_events(port, Tls(ca=str(authority.path)), "localhost"))
    assert isinstance(event, Disconnected)
    assert event.fatal
    assert "Hostname mismatch" in event.reason


def test_a_missing_client_certificate_is_fatal_as_soon_as_the_broker_says_so(secured) -> None:
    port, authority = secured
    events = iter_events(port, Tls(ca=str(authority.path)))
    # With TLS 1.3 our handshake is over before the broker looks, and its alert may come after our write has failed.
    refusal = next(event for event in events if isinstance(event, Connected) or event.fatal)
    assert isinstance(refusal, Disconnected)
    assert "CERTIFICATE_REQUIRED" in refusal.reason


def test_plain_mqtt_to_a_tls_port_is_not_mistaken_for_a_connection(secured) -> None:
    (event,) = first_events(secured[0], None)
    assert isinstance(event, Disconnected)
