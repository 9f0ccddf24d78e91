"""docs/operations.md, acted out: the shipped samples, the shipped broker configuration, TLS, two devices."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.broker
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


def fedloom(*arguments: str) -> str:
    command = [sys.executable, "-m", "fedloom.command", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def configure(broker: Any, deploy: Path, tmp_path: Path) -> Callable[..., Path]:
    """Fill in a sample as an operator would: addresses and paths."""

    def write(sample: str, identity: tuple[Path, Path], **paths: Path) -> Path:
        text = (deploy / sample).read_text()
        old = [line for line in text.splitlines() if line.startswith(("cert = ", "key = ", "ca = "))]
        new = {"ca": broker.authority.file, "cert": identity[0], "key": identity[1]}
        for line in old:
            text = text.replace(line, f'{line.split(" ")[0]} = "{new[line.split(" ")[0]]}"')
        text = text.replace('host = "broker.example.org"', 'host = "localhost"')
        text = text.replace("port = 8883", f"port = {broker.port}", 1)
        for key, path in paths.items():
            (line,) = [each for each in text.splitlines() if each.startswith(f"{key} = ")]
            text = text.replace(line, f'{key} = "{path}"')
        file = tmp_path / f"{identity[0].stem}.toml"
        file.write_text(text)
        return file

    return write


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []

    def run(*command: str) -> subprocess.Popen[str]:
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        processes.append(subprocess.Popen([sys.executable, "-m", *command], env=environment, **pipes))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.wait()


def test_two_devices_learn_over_tls(
    broker: Any, configure: Callable[..., Path], start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    (tmp_path / "job.toml").write_text(JOB)
    issue = broker.authority.issue
    hub = configure("aggregator.toml", issue("fedloom-aggregator"), state=tmp_path / "hub", job=tmp_path / "job.toml")
    fedloom("aggregator", "init", "--config", str(hub))
    devices = []
    for number in (1, 2):
        home = tmp_path / f"device-{number}"
        made = fedloom("device", "new", f"device-{number}", "--out", str(home), "--config", str(hub))
        x = np.linspace(-1, 1, 50) + number
        np.savetxt(home / "data.csv", np.column_stack((x, 2 * x + 1)), delimiter=",", header="x,y", comments="")
        identity = issue(made.split()[1])  # the id that the command printed is the certificate's common name
        config = configure("edge.toml", identity, state=home / "state", keys=home / "keys", path=home / "data.csv")
        devices.append(start("edge_client", "run", "--config", str(config), "--exit-when-done"))
    aggregator = start("fedloom.command", "aggregator", "run", "--config", str(hub), "--exit-when-done", "--json")
    said, _ = aggregator.communicate(timeout=TIMEOUT_S)
    assert aggregator.returncode == 0, said
    assert '"event":"done"' in said
    for device in devices:
        heard, _ = device.communicate(timeout=TIMEOUT_S)
        assert device.returncode == 0, heard
        assert "model.saved" in heard
