"""Certificates of a small federation, and the shipped Mosquitto configuration running with them."""

import datetime
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")


@pytest.fixture(scope="session")
def deploy() -> Path:
    return DEPLOY


class Authority:
    """A certificate authority; `issue` writes NAME.crt and NAME.key."""

    def __init__(self, directory: Path, name: str = "test authority") -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = directory / f"{name.replace(' ', '-')}.crt"
        builder = self._builder(self._name, self._key).add_extension(x509.BasicConstraints(True, 0), critical=True)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        certificate = builder.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, server: bool = False) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = self._builder(subject, key).add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if server:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        files = self._directory / f"{name}.crt", self._directory / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        files[1].chmod(0o600)
        return files

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(own, critical=False)
            .add_extension(issuer, critical=False)
        )


class TlsBroker(NamedTuple):
    """Where the broker listens, and the authority whose certificates it takes."""

    port: int
    authority: Authority


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsBroker]:
    """deploy/mosquitto as it is shipped; only paths and the port are other ones."""
    if MOSQUITTO is None:
        pytest.skip("Mosquitto is not installed, so its configuration cannot be tried")
    directory = tmp_path_factory.mktemp("mosquitto")
    authority = Authority(directory)
    certificate, key = authority.issue("localhost", server=True)
    port = _free_port()
    text = (DEPLOY / "mosquitto" / "mosquitto.conf").read_text()
    for shipped, here in (
        ("listener 8883\n", f"listener {port} 127.0.0.1\n"),
        ("/etc/mosquitto/certs/ca.crt", str(authority.file)),
        ("/etc/mosquitto/certs/broker.crt", str(certificate)),
        ("/etc/mosquitto/certs/broker.key", str(key)),
        ("/etc/mosquitto/acl", str(DEPLOY / "mosquitto" / "acl")),
        ("/var/lib/mosquitto/", f"{directory}/"),
    ):
        assert text.count(shipped) == 1, shipped
        text = text.replace(shipped, here)
    # Started by root it would change to a user who cannot read the test's files.
    config = directory / "mosquitto.conf"
    config.write_text(text + ("user root\n" if os.geteuid() == 0 else ""))
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([MOSQUITTO, "-c", str(config)], stdout=log, stderr=log)
    try:
        _await_port(port, process, directory / "log")
        yield TlsBroker(port, authority)
    finally:
        process.terminate()
        process.wait(10)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            time.sleep(0.02)
        else:
            return
    pytest.fail(f"Mosquitto did not start with the shipped configuration:\n{log.read_text()}")
