"""A federation whose broker is what `fedloom broker config mosquitto` writes, run by the real Mosquitto."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from members import Member

from aggregator import keys
from aggregator.broker.files import Wanted, Wrote, write
from aggregator.enrolment.provision import new_device
from aggregator.store import open_store
from fedloom.trust.tokens import Broker, TlsMode
from fedloom.wire.topics import Topics

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
TIMEOUT_S = 10.0


@pytest.fixture(scope="session")
def deploy() -> Path:
    return DEPLOY


class Federation:
    """A registrar, its devices, and the broker that is configured for them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "hub"
        own = keys.init(self.state, "x25519")
        self.topics = Topics(own.root.federation)
        self.aggregator_id = own.id.hex()
        self.port, self.join_port = _free_ports()
        self.out = directory / "out"
        self._process: subprocess.Popen[bytes] | None = None
        self.log = directory / "mosquitto.log"

    def device(self, name: str) -> Member:
        """A new one, whose edge.toml has the broker's address."""
        broker = Broker("localhost", self.port, TlsMode.FEDERATION)
        made = new_device(self.state, name, self.directory / name, broker=broker)
        return Member(name, made.id.hex(), self.directory / name)

    def revoke(self, name: str) -> None:
        with open_store(self.state) as store:
            store.revoke_device(name)

    def configure(self) -> Wrote:
        """`fedloom broker config mosquitto`."""
        hosts = ("localhost", "127.0.0.1")
        return write(self.state, Wanted("mosquitto", self.out, hosts, self.port, self.join_port))

    def start(self) -> None:
        """Run the broker; only its address, its own user and its database are other ones than it was given."""
        text = (self.out / "broker" / "mosquitto.conf").read_text()
        for given, here in (
            (f"listener {self.port}\n", f"listener {self.port} 127.0.0.1\n"),
            (f"listener {self.join_port}\n", f"listener {self.join_port} 127.0.0.1\n"),
            ("/var/lib/mosquitto/", f"{self.directory}/"),
        ):
            assert text.count(given) == 1, given
            text = text.replace(given, here)
        # Started by root it would change to a user who cannot read the test's files.
        user = "user root\n" if os.geteuid() == 0 else ""
        config = self.directory / "mosquitto.conf"
        config.write_text(f"{text}{user}log_type information\nlog_type debug\n")  # says when it reloads or denies
        with self.log.open("wb") as log:
            self._process = subprocess.Popen([str(MOSQUITTO), "-c", str(config)], stdout=log, stderr=log)
        _await_start(self._process, self.log)

    def reload(self) -> None:
        """SIGHUP, and wait until the broker has done it."""
        assert self._process is not None
        before = self.log.read_text().count("Reloading config")
        self._process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + TIMEOUT_S
        while self.log.read_text().count("Reloading config") == before:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(TIMEOUT_S)
            self._process = None

    def context(self, who: Member | str | None) -> ssl.SSLContext:
        """What a device, the aggregator ("aggregator") or somebody without a certificate (None) connects with."""
        context = ssl.create_default_context(cafile=str(self.out / "broker" / "ca.crt"))
        if isinstance(who, Member):
            context.load_cert_chain(who.home / "keys" / "tls.crt", who.home / "keys" / "tls.key")
        elif who is not None:
            context.load_cert_chain(self.out / who / f"{who}.crt", self.out / who / f"{who}.key")
        return context


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    """Of a test's own, its broker not yet started."""
    yield from _federation(tmp_path)


@pytest.fixture(scope="module")
def shared_federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """For tests that change nothing; its broker runs, and it has the devices a and b."""
    for each in _federation(tmp_path_factory.mktemp("federation")):
        each.configure()
        each.start()
        yield each


def _federation(directory: Path) -> Iterator[Federation]:
    if MOSQUITTO is None:
        pytest.skip("Mosquitto is not installed, so its configuration cannot be tried")
    made = Federation(directory)
    try:
        yield made
    finally:
        made.stop()


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return int(one.getsockname()[1]), int(other.getsockname()[1])


def _await_start(process: subprocess.Popen[bytes], log: Path) -> None:
    """It listens before it minds SIGHUP, which would end it until then."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if " running" in log.read_text():
            return
        time.sleep(0.01)
    pytest.fail(f"Mosquitto did not start with the configuration that was written:\n{log.read_text()}")
