"""docs/broker.md, acted out: the broker as it is configured for us, mutual TLS 1.3, two devices, a job to its end."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from members import Member
from mqtt_client import Client, RefusedError

pytestmark = [pytest.mark.broker, pytest.mark.slow]
TIMEOUT_S = 60
JOB = """
name = "line"
[model]
inputs = 1
outputs = 1
[data]
features = ["x"]
target = "y"
[training]
loss = "mse"
batch_size = 0
local_epochs = 5
[rounds]
count = 5
devices = 2
"""


def fedloom(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "fedloom.command", *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []

    def run(*command: str | Path) -> subprocess.Popen[str]:
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        processes.append(subprocess.Popen([sys.executable, "-m", *map(str, command)], env=environment, **pipes))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@pytest.fixture
def hub(federation: Any, tmp_path: Path) -> Path:
    """The aggregator's configuration: what the command says belongs into it, and nothing else about the broker."""
    (tmp_path / "job.toml").write_text(JOB)
    config = tmp_path / "aggregator.toml"
    config.write_text('job = "job.toml"\nstate = "hub"\n[broker]\nhost = "localhost"\n')
    ports = ("--port", str(federation.port), "--join-port", str(federation.join_port))
    said = json.loads(
        fedloom("broker", "config", "mosquitto", "--config", config, "--out", federation.out, *ports, "--json")
    )
    config.write_text(f'job = "job.toml"\nstate = "hub"\n{said["aggregator_toml"]}')
    federation.start()
    return config


def make_device(hub: Path, number: int) -> Path:
    """Its configuration, as it is made."""
    home = hub.parent / f"device-{number}"
    fedloom("device", "new", home.name, "--out", home, "--config", hub)
    x = np.linspace(-1, 1, 50) + number
    np.savetxt(home / "data.csv", np.column_stack((x, 2 * x + 1)), delimiter=",", header="x,y", comments="")
    return home / "edge.toml"


def test_two_devices_learn_over_mutual_tls(
    hub: Path, start: Callable[..., subprocess.Popen[str]], federation: Any
) -> None:
    devices = [
        start("edge_client", "run", "--config", make_device(hub, number), "--exit-when-done") for number in (1, 2)
    ]
    aggregator = start("fedloom.command", "aggregator", "run", "--config", hub, "--exit-when-done", "--json")
    said, _ = aggregator.communicate(timeout=TIMEOUT_S)
    assert aggregator.returncode == 0, said
    assert '"event":"done"' in said
    for device in devices:
        heard, _ = device.communicate(timeout=TIMEOUT_S)
        assert device.returncode == 0, heard
        assert "model.saved" in heard
    assert "Denied" not in federation.log.read_text()


def test_devices_join_and_learn_over_mutual_tls(
    hub: Path, start: Callable[..., subprocess.Popen[str]], federation: Any
) -> None:
    """Nothing goes to a device but its token: it joins where strangers may, and learns where members may."""
    tokens = fedloom("token", "new", "--count", "2", "--config", hub).split()
    aggregator = start("fedloom.command", "aggregator", "run", "--config", hub, "--exit-when-done", "--json")
    devices = []
    for number, token in enumerate((each for each in tokens if each.startswith("fedloom1.")), 1):
        home = hub.parent / f"joined-{number}"
        home.mkdir()
        x = np.linspace(-1, 1, 50) + number
        np.savetxt(home / "data.csv", np.column_stack((x, 2 * x + 1)), delimiter=",", header="x,y", comments="")
        (home / "token").write_text(token)
        (home / "token").chmod(0o600)
        joining = start("edge_client", "join", home / "token", "--dir", home)
        said, _ = joining.communicate(timeout=TIMEOUT_S)
        assert joining.returncode == 0, said
        assert token not in said
        devices.append(start("edge_client", "run", "--config", home / "edge.toml", "--exit-when-done"))
    assert len(devices) == 2
    said, _ = aggregator.communicate(timeout=TIMEOUT_S)
    assert aggregator.returncode == 0, said
    for device in devices:
        heard, _ = device.communicate(timeout=TIMEOUT_S)
        assert device.returncode == 0, heard
        assert "model.saved" in heard
    assert "Denied" not in federation.log.read_text()


def test_a_revoked_device_is_shut_out_at_all_three_places(
    hub: Path, start: Callable[..., subprocess.Popen[str]], federation: Any
) -> None:
    """Its certificate is valid, and it connects: no broker has been told yet. Then one is."""
    a, b, gone = (make_device(hub, number) for number in (1, 2, 3))
    fedloom("device", "revoke", "device-3", "--config", hub)
    aggregator = start("fedloom.command", "aggregator", "run", "--config", hub, "--exit-when-done", "--json")
    start("edge_client", "run", "--config", gone)
    certificate = x509.load_pem_x509_certificate((gone.parent / "keys" / "tls.crt").read_bytes())
    device_id = str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    wait(lambda: f" as {device_id} (" in federation.log.read_text())

    # It is refused: the job needs two devices, and these two are others.
    members = [start("edge_client", "run", "--config", each, "--exit-when-done") for each in (a, b)]
    said, _ = aggregator.communicate(timeout=TIMEOUT_S)
    assert aggregator.returncode == 0, said
    notices = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert device_id not in said
    assert max(each["invited"] for each in notices if each["event"] == "round_opened") == 2
    for member in members:
        heard, _ = member.communicate(timeout=TIMEOUT_S)
        assert member.returncode == 0, heard

    # Nobody gives it the key: it saw the manifest of the final model, which is for all to read, and cannot open that.
    wait(lambda: standing(gone)["manifest"] == standing(a)["manifest"])
    assert standing(a)["model"]
    assert not standing(gone)["model"]

    # The broker shuts it out.
    ports = ("--port", str(federation.port), "--join-port", str(federation.join_port))
    fedloom("broker", "config", "mosquitto", "--config", hub, "--out", federation.out, *ports)
    federation.reload()
    with pytest.raises(RefusedError):
        Client(federation.port, federation.context(Member("device-3", device_id, gone.parent)), device_id)


def standing(config: Path) -> dict[str, Any]:
    """`fedloom-edge status`."""
    command = [sys.executable, "-m", "edge_client", "status", "--config", str(config), "--json"]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S).stdout))


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
