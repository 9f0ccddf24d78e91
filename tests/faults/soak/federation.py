"""Sets a federation up on this machine: a broker that keeps what it may, an aggregator, many devices."""

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from aggregator.enrolment.provision import new_device
from aggregator.keys import init as init_federation
from fedloom.trust.tokens import Broker, TlsMode
from simulation.broker import find_mosquitto
from soak.party import Party

HOST = "127.0.0.1"
DEADLINE_S = 8.0
RETAINED_ROUNDS = 100
HISTORY = 1000
"""Rounds whose manifests are kept: the ledger must see each, and a small fleet does tens a second."""
CANARIES = ("canary-pressure", "canary-flow", "canary-leak")
"""Names of features and of the target: they may travel sealed alone."""
FEDERATION_KEEPALIVE_S = 10
_MOSQUITTO = """\
listener {port} {host}
allow_anonymous true
persistence true
persistence_location {directory}/
autosave_interval 1
set_tcp_nodelay true
max_queued_messages 0
max_inflight_messages 1000
log_dest stderr
connection_messages false
{user}"""
_JOB = """\
name = "soak"
seed = {seed}
[model]
inputs = 2
outputs = 1
hidden = [8]
[data]
features = ["{features[0]}", "{features[1]}"]
target = "{features[2]}"
[training]
loss = "mse"
local_epochs = 2
[rounds]
count = 1000000
devices = {devices}
cohort = 0.5
over_selection = 1.5
quorum = 0.6
min_updates = {fewest}
deadline_s = {deadline_s}
"""


class Federation:
    """Its parties, not yet started."""

    def __init__(self, directory: Path, devices: int, seed: int, before_broker: Callable[[], None]) -> None:
        """`before_broker` is called before each start of the broker, when nobody writes its storage.

        Raises:
            FileNotFoundError: Mosquitto is not installed.
        """
        mosquitto = find_mosquitto()
        if mosquitto is None:
            raise FileNotFoundError("mosquitto is not installed (Debian: apt install mosquitto)")
        self.directory = directory
        self.broker_storage = directory / "broker"
        self.state = directory / "aggregator"
        self._before_broker = before_broker
        self._seed = seed
        self._port = _free_port()
        self.broker_storage.mkdir(parents=True)
        self.broker = Party("broker", [mosquitto, "-c", str(self._mosquitto())], directory, before_start=before_broker)
        init_federation(self.state, "hybrid")
        config = self._aggregator_toml(devices)
        command = [sys.executable, "-m", "fedloom.command", "aggregator", "run", "--config", str(config), "--json"]
        self.aggregator = Party("hub", command, directory, keeps_output=True)
        self.devices = [self._device(number) for number in range(1, devices + 1)]

    @property
    def parties(self) -> list[Party]:
        return [self.broker, self.aggregator, *self.devices]

    def wipe_broker(self) -> None:
        """Have it start with nothing; it must not run."""
        for path in self.broker_storage.iterdir():
            path.unlink()

    def device_directory(self, device: Party) -> Path:
        """Its keys and state."""
        return self.directory / device.name

    def _mosquitto(self) -> Path:
        user = "user root\n" if os.geteuid() == 0 else ""  # else it would change to one who cannot enter our directory
        text = _MOSQUITTO.format(port=self._port, host=HOST, directory=self.broker_storage, user=user)
        path = self.directory / "mosquitto.conf"
        path.write_text(text, encoding="utf-8")
        return path

    def _aggregator_toml(self, devices: int) -> Path:
        fewest = max(1, devices // 8)
        job = _JOB.format(seed=self._seed, features=CANARIES, devices=devices, fewest=fewest, deadline_s=DEADLINE_S)
        (self.directory / "job.toml").write_text(job, encoding="utf-8")
        path = self.directory / "aggregator.toml"
        lines = ['job = "job.toml"', f"state = {json.dumps(self.state.name)}", "[broker]", f'host = "{HOST}"']
        lines += [f"port = {self._port}", f"keepalive_s = {FEDERATION_KEEPALIVE_S}"]
        lines += ["[retention]", f"rounds = {RETAINED_ROUNDS}", f"history = {HISTORY}"]
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")
        return path

    def _device(self, number: int) -> Party:
        name = f"device-{number:02}"
        home = self.directory / name
        home.mkdir()
        _write_data(home / "data.csv", number, self._seed)
        broker = Broker(HOST, self._port, TlsMode.NONE)
        new_device(self.state, name, home, broker=broker, device_id=number.to_bytes(16, "big"))
        command = [sys.executable, "-m", "edge_client", "run", "--config", str(home / "edge.toml")]
        keepalive = {"FEDLOOM_EDGE__BROKER__KEEPALIVE_S": str(FEDERATION_KEEPALIVE_S)}
        return Party(name, command, self.directory, environment=keepalive)


def _write_data(path: Path, number: int, seed: int) -> None:
    """A noisy line, seen from another place by each device; as many rows as tell devices apart in a sum."""
    rng = np.random.default_rng((seed, number))
    x = rng.normal(loc=number / 50, size=(60 + number, 2))
    y = 2.0 * x[:, 0] - x[:, 1] + rng.normal(scale=0.1, size=len(x))
    np.savetxt(path, np.column_stack((x, y)), delimiter=",", header=",".join(CANARIES), comments="", fmt="%.7f")


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])
