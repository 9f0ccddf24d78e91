"""The device's doctor at a broker that goes by passwords, with or without asking for certificates."""

import base64
import time
from hashlib import pbkdf2_hmac
from pathlib import Path
from typing import Any

import pytest

from edge_client.config import EdgeConfig, load_config
from edge_client.doctor import examine
from fedloom.edge_toml import edge_toml
from fedloom.health.findings import Level
from fedloom.trust.certificates import Authority, new_authority, new_key, public_key_of, to_pem
from fedloom.trust.tokens import Broker, TlsMode
from simulation.broker import find_mosquitto, start_broker

pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed"),
]


def listener(aggregator: Any, directory: Path) -> list[str]:
    """TLS with a certificate of the federation's authority; asks nobody for one."""
    now_s, key = time.time(), new_key()
    aggregator.ca_key = new_key()
    aggregator.ca = new_authority(aggregator.ca_key, "test", now_s)
    aggregator.roots.clear()
    aggregator.rotate(version=1)
    authority = Authority(aggregator.ca_key, aggregator.ca)
    server = authority.issue(public_key_of(key), "broker", now_s - 60, now_s + 86_400, ("127.0.0.1",))
    directory.mkdir()
    for name, data in {"server.pem": to_pem(server), "server.key": key}.items():
        (directory / name).write_bytes(data)
        (directory / name).chmod(0o600)
    return [f"certfile {directory / 'server.pem'}", f"keyfile {directory / 'server.key'}"]


def with_password(directory: Path, name: str, password: str) -> str:
    """Mosquitto's line for a file of passwords with this one; its format 7 is PBKDF2 with SHA-512."""
    salt, rounds = b"twelve bytes", 101
    digest = pbkdf2_hmac("sha512", password.encode(), salt, rounds)
    encoded = [base64.b64encode(each).decode() for each in (salt, digest)]
    path = directory / "passwords"
    path.write_text(f"{name}:$7${rounds}${encoded[0]}${encoded[1]}\n")
    path.chmod(0o600)
    return f"password_file {path}"


def configured(aggregator: Any, directory: Path, port: int) -> EdgeConfig:
    """A device whose configuration names a password, and files as `fedloom-edge join` does."""
    directory.mkdir(mode=0o700)
    aggregator.write_keys(directory / "keys")
    (directory / "password").write_text("secret\n")
    (directory / "password").chmod(0o600)
    text = edge_toml("pump", Broker("127.0.0.1", port, TlsMode.FEDERATION), "data.csv")
    login = '[broker]\nusername = "pump"\npassword_file = "password"\n'
    (directory / "edge.toml").write_text(text.replace("[broker]\n", login))
    return load_config(directory / "edge.toml")


@pytest.mark.parametrize("has_passwords", [True, False])
def test_a_broker_that_goes_by_passwords_does_not_let_anybody_in(
    aggregator: Any, tmp_path: Path, has_passwords: bool
) -> None:
    lines = listener(aggregator, tmp_path / "broker")
    if has_passwords:
        lines.append(with_password(tmp_path / "broker", "pump", "secret"))
    with start_broker(tmp_path / "broker", "mosquitto", lines) as broker:
        found = {each.check: each for each in examine(configured(aggregator, tmp_path / "device", broker.port))}
    assert found["access: allowed"].level is Level.OK
    assert found["access: without a certificate"].level is (Level.OK if has_passwords else Level.FAIL)
