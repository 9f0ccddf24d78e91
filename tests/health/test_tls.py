"""What the doctors say of a broker's TLS. The broker is a socket here: no MQTT is spoken."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedloom.health import tls
from fedloom.health.findings import Finding, Level
from fedloom.link.config import MqttConfig, Tls
from fedloom.trust.certificates import Authority, new_authority, new_key, public_key_of, to_pem

DAY_S = 86_400


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    key = new_key()
    made = Authority(key, new_authority(key, "test", time.time()))
    (tmp_path / "ca.crt").write_bytes(to_pem(made.certificate))
    return made


class Server:
    """Shakes hands, and hangs up."""

    def __init__(self, directory: Path, authority: Authority, start_s: float, end_s: float) -> None:
        key = new_key()
        (directory / "broker.key").write_bytes(key)
        certificate = authority.issue(public_key_of(key), "broker", start_s, end_s, ["127.0.0.1"])
        (directory / "broker.crt").write_bytes(to_pem(certificate))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(directory / "broker.crt", directory / "broker.key")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        plain, _ = self._listener.accept()
        with plain:
            try:
                self.context.wrap_socket(plain, server_side=True).close()
            except OSError:
                return


@pytest.fixture
def examine(tmp_path: Path, authority: Authority) -> Iterator[Any]:
    def run(days: float = 365.0, *, check_dates: bool = True, newest: Any = None) -> dict[str, Finding]:
        now_s = time.time()
        with Server(tmp_path, authority, now_s - 400 * DAY_S, now_s + days * DAY_S) as server:
            if newest is not None:
                server.context.maximum_version = newest
            section = Tls(ca=str(tmp_path / "ca.crt"), check_dates=check_dates)
            config = MqttConfig(host="127.0.0.1", port=server.port, tls=section)
            return {each.check: each for each in tls.reach(config, now_s)}

    return run


def test_all_is_well(examine: Any) -> None:
    found = examine()
    assert {check: each.level for check, each in found.items()} == dict.fromkeys(
        ("broker", "TLS", "broker's certificate"), Level.OK
    )


def test_an_old_version_is_said(examine: Any) -> None:
    found = examine(newest=ssl.TLSVersion.TLSv1_2)
    assert found["TLS"].level is Level.WARN
    assert found["TLS"].seen.startswith("TLSv1.2, ")


def test_a_certificate_that_expires_soon(examine: Any) -> None:
    assert examine(days=20.0)["broker's certificate"].level is Level.WARN


def test_an_expired_certificate_fails_where_dates_are_looked_at(examine: Any) -> None:
    found = examine(days=-1.0)
    assert found["TLS"].level is Level.FAIL
    assert "expired" in found["TLS"].seen


def test_an_expired_certificate_is_said_where_they_are_not(examine: Any) -> None:
    found = examine(days=-1.0, check_dates=False)
    assert found["TLS"].level is Level.OK
    assert found["broker's certificate"].level is Level.WARN


def test_our_own_certificate(tmp_path: Path, authority: Authority) -> None:
    now_s = time.time()
    file = tmp_path / "tls.crt"
    for days, level in ((60, Level.OK), (2, Level.WARN), (-2, Level.FAIL)):
        issued = authority.issue(public_key_of(new_key()), "device", now_s - 60 * DAY_S, now_s + days * DAY_S)
        file.write_bytes(to_pem(issued))
        (found,) = tls.own_certificate(file, now_s, "join again")
        assert found.level is level
