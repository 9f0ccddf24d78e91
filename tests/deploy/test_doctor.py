"""Both doctors, at the broker as it is configured for us, and at brokers that permit too much or too little."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mqtt_client import Client

from aggregator.state_lock import exclusive
from fedloom.health.access import PAYLOAD
from simulation.broker import start_broker

pytestmark = [pytest.mark.broker, pytest.mark.slow]
TIMEOUT_S = 60


class Report:
    """What a doctor said."""

    def __init__(self, *command: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", *command, "--json"], check=False, capture_output=True, text=True, timeout=TIMEOUT_S
        )
        assert done.returncode in (0, 1), done.stderr
        self.status = done.returncode
        self.text = done.stdout
        self.findings = {each["check"]: each for each in json.loads(done.stdout)}

    def level(self, check: str) -> str:
        return str(self.findings[check]["level"])

    @property
    def wrong(self) -> dict[str, str]:
        return {check: each["seen"] for check, each in self.findings.items() if each["level"] != "ok"}


@pytest.fixture
def fleet(federation: Any) -> Any:
    """Running, with a device and both configurations."""
    federation.a = federation.device("a")
    wrote = federation.configure()
    federation.hub = federation.directory / "aggregator.toml"
    federation.hub.write_text(f'job = "job.toml"\nstate = "hub"\n{wrote.aggregator_toml}')
    federation.start()
    return federation


def edge(fleet: Any) -> Report:
    return Report("edge_client", "doctor", "--config", str(fleet.a.home / "edge.toml"))


def hub(fleet: Any) -> Report:
    return Report("fedloom.command", "doctor", "--config", str(fleet.hub))


@pytest.fixture
def listener(fleet: Any) -> Iterator[Client]:
    """Somebody at the broker to whom everything is delivered that the aggregator may read."""
    client = Client(fleet.port, fleet.context("aggregator"), "aggregator")
    for topic in (fleet.topics.all_up, fleet.topics.all_states):
        client.subscribe(topic)
    yield client
    client.close()


def open_the_acl(fleet: Any, lines: str, name: str = "acl") -> None:
    file = fleet.out / "broker" / name
    file.write_text(file.read_text() + lines)
    fleet.reload()


def test_a_device_that_is_well(fleet: Any, listener: Client) -> None:
    report = edge(fleet)
    assert report.status == 0, report.text
    assert set(report.wrong) == {"state"}  # it has not run yet
    assert "TLSv1.3" in report.findings["TLS"]["seen"]
    assert "131,072 bytes" in report.findings["limits"]["seen"]
    for check in ("access: denied", "access: not readable", "access: under another client id"):
        assert report.level(check) == "ok"
    assert report.level("access: without a certificate") == "ok"
    topic, payload = listener.next_message()
    assert (topic, payload) == (fleet.topics.up(bytes.fromhex(fleet.a.id)), PAYLOAD)


def test_an_aggregator_that_is_well(fleet: Any) -> None:
    report = hub(fleet)
    assert (report.status, report.wrong) == (0, {})
    assert {"joining: allowed", "joining: denied", "joining: not readable", "access: allowed"} <= set(report.findings)


@pytest.mark.parametrize(
    ("lines", "check"),
    [
        ("pattern write fedloom/+/d/+/up\n", "access: denied"),
        ("pattern write fedloom/+/all/manifest\n", "access: denied"),
        ("pattern write fedloom/+/d/%u/down\n", "access: denied"),
        ("pattern read fedloom/+/d/%u/up\n", "access: not readable"),
        ("pattern read fedloom/+/d/+/state\n", "access: not readable"),
        ("pattern write fedloom/+/d/+/up\n", "access: under another client id"),
    ],
)
def test_a_broker_that_permits_a_device_too_much(fleet: Any, lines: str, check: str) -> None:
    open_the_acl(fleet, lines)
    report = edge(fleet)
    assert report.status == 1
    assert report.level(check) == "FAIL"
    assert "fedloom broker config" in report.findings[check]["do"]


@pytest.mark.parametrize(
    ("lines", "check"),
    [
        ("pattern write fedloom/+/d/%c/up\npattern write fedloom/+/enrol/+/up\n", "joining: denied"),
        ("pattern read fedloom/+/enrol/%c/up\n", "joining: not readable"),
    ],
)
def test_a_broker_that_permits_those_who_join_too_much(fleet: Any, lines: str, check: str) -> None:
    open_the_acl(fleet, lines, "acl-join")
    report = hub(fleet)
    assert (report.status, report.level(check)) == (1, "FAIL")


def test_a_broker_that_lets_anybody_in(fleet: Any) -> None:
    conf = fleet.out / "broker" / "mosquitto.conf"
    text = conf.read_text().replace("require_certificate true", "require_certificate false")
    for each in ("use_identity_as_username true\n", "use_username_as_clientid true\n"):
        text = text.replace(each, "")
    conf.write_text(text.replace("allow_anonymous false", "allow_anonymous true"))
    fleet.stop()
    fleet.start()
    report = edge(fleet)
    assert report.status == 1
    assert report.level("access: without a certificate") == "FAIL"
    assert report.level("access: under another client id") == "FAIL"  # user names are free


def test_a_broker_with_packets_that_are_too_small(fleet: Any) -> None:
    conf = fleet.out / "broker" / "mosquitto.conf"
    conf.write_text(conf.read_text().replace("max_packet_size 131072", "max_packet_size 100000"))
    fleet.stop()
    fleet.start()
    report = edge(fleet)
    assert (report.status, report.level("limits")) == (1, "FAIL")


def test_a_revoked_device(fleet: Any) -> None:
    fleet.revoke("a")
    fleet.configure()
    fleet.reload()
    report = edge(fleet)
    assert report.status == 1
    assert report.level("broker") == "ok"
    assert report.level("access") == "FAIL"


def test_a_device_that_the_access_list_denies(fleet: Any) -> None:
    open_the_acl(fleet, f"\nuser {fleet.a.id}\ntopic deny #\n")
    report = edge(fleet)
    assert (report.status, report.level("access: allowed")) == (1, "FAIL")


def test_no_broker(fleet: Any) -> None:
    fleet.stop()
    for report in (edge(fleet), hub(fleet)):
        assert (report.status, report.level("broker")) == (1, "FAIL")


def test_keys_that_others_can_read(fleet: Any) -> None:
    (fleet.a.home / "keys" / "signing.key").chmod(0o644)
    report = edge(fleet)
    assert (report.status, report.level("keys")) == (1, "FAIL")
    assert report.findings["keys"]["do"].startswith("run: chmod 600 ")


def test_a_running_daemon_is_left_alone(fleet: Any) -> None:
    home = fleet.a.home
    (home / "data.csv").write_text("x,y\n1,2\n")
    log = home / "log"
    with log.open("wb") as file:
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "edge_client", "run", "--config", str(home / "edge.toml")]
        daemon = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    try:
        wait(lambda: f"as {fleet.a.id} (" in fleet.log.read_text(), log)
        report = edge(fleet)
        assert report.status == 0, report.text
        assert "stop fedloom-edge" in report.findings["access"]["do"]
        assert daemon.poll() is None
        said = fleet.log.read_text()
        assert "closing old connection" not in said
        assert said.count(f"as {fleet.a.id} (") == 1
    finally:
        daemon.kill()
        daemon.wait()


def wait(condition: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def test_the_report_for_people_says_what_to_do(fleet: Any) -> None:
    open_the_acl(fleet, "pattern write fedloom/+/d/+/up\n")
    command = [sys.executable, "-m", "edge_client", "doctor", "--config", str(fleet.a.home / "edge.toml")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith("FAIL  access: denied")]
    assert lines[at + 1].startswith("      -> run again: fedloom broker config")


def test_an_authority_that_is_not_the_brokers(fleet: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = type(fleet)(tmp_path_factory.mktemp("other"))
    stranger = other.device("a")
    (fleet.a.home / "keys" / "ca.crt").write_bytes((stranger.home / "keys" / "ca.crt").read_bytes())
    report = edge(fleet)
    assert (report.status, report.level("broker"), report.level("TLS")) == (1, "ok", "FAIL")
    assert "CERTIFICATE_VERIFY_FAILED" in report.findings["TLS"]["seen"]


def test_no_tls(fleet: Any) -> None:
    """A plain broker, which lets everybody do everything."""
    conf = fleet.directory / "plain.conf"
    with start_broker(fleet.directory, "mosquitto") as broker:
        text = (fleet.a.home / "edge.toml").read_text().split("[broker]")[0]
        conf.write_text(
            f'{text}[broker]\nhost = "{broker.host}"\nport = {broker.port}\n[data]\npath = "data.csv"\n'.replace(
                '"keys"', f'"{fleet.a.home}/keys"'
            )
        )
        report = Report("edge_client", "doctor", "--config", str(conf))
    assert report.level("TLS") == "warn"
    assert (report.status, report.level("access: denied")) == (1, "FAIL")
    assert "access: without a certificate" not in report.findings


def test_a_running_aggregator_is_left_alone(fleet: Any) -> None:
    with exclusive(fleet.state):
        report = hub(fleet)
    assert report.status == 0, report.text
    assert "stop the aggregator" in report.findings["access"]["do"]
    assert report.level("joining: denied") == "ok"


def test_what_it_says_holds_no_secret(fleet: Any) -> None:
    (fleet.a.home / "keys" / "seal.key").write_bytes(b"canary-of-a-key")
    report = edge(fleet)
    assert report.level("keys") == "FAIL"
    assert "canary" not in report.text
