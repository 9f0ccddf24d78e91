"""Real processes over a real broker: devices join while the aggregator is killed, and everybody agrees afterwards."""

import contextlib
import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from aggregator.enrolment import tokens
from aggregator.enrolment.provision import new_device
from aggregator.keys import init
from aggregator.store import open_store
from edge_client.join import Joiner as EdgeJoiner
from edge_client.join_directory import JoinDirectory
from fedloom.trust.device_keys import load_device_keys
from fedloom.trust.tokens import Broker as Address
from fedloom.trust.tokens import TlsMode, read_token, write_token

PATIENCE_S = 60.0
WAVES, WAVE = 6, 8
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
[rounds]
count = 1
devices = 1000
"""

pytestmark = [pytest.mark.broker, pytest.mark.slow]


class Aggregator:
    """`fedloom aggregator run`, which may be killed; and the operator's commands."""

    def __init__(self, directory, broker):
        self.directory = directory
        self.state = directory / "state"
        self.notices = queue.Queue()
        self._process = None
        address = f'[broker]\nhost = "{broker.host}"\nport = {broker.port}\n'
        (directory / "job.toml").write_text(JOB)
        (directory / "aggregator.toml").write_text(f'job = "job.toml"\nstate = "state"\n{address}')
        init(self.state)

    def start(self):
        command = [sys.executable, "-m", "fedloom.command", "aggregator", "run", "--json"]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.directory, stdout=subprocess.PIPE, stderr=log)
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()

    def kill(self):
        self._process.kill()
        self._process.wait(PATIENCE_S)

    def stop(self):
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            assert self._process.wait(PATIENCE_S) in (0, -signal.SIGTERM)  # it may not have come to its handler yet

    def command(self, *arguments):
        command = [sys.executable, "-m", "fedloom.command", *arguments]
        return subprocess.run(command, cwd=self.directory, capture_output=True, text=True, timeout=PATIENCE_S)

    def tokens(self, *options):
        made = self.command("token", "new", *options)
        assert made.returncode == 0, made.stderr
        return [read_token(line) for line in made.stdout.splitlines()]

    def await_notice(self, event):
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            notice = self.notices.get(timeout=max(0.0, deadline_s - time.monotonic()))
            if notice["event"] == event:
                return notice

    def _listen(self, stream):
        with stream, contextlib.suppress(ValueError):  # the last line of one that is killed
            for line in stream:
                self.notices.put(json.loads(line))


@pytest.fixture
def aggregator(tmp_path, broker):
    made = Aggregator(tmp_path, broker)
    made.start()
    yield made
    made.stop()
    log = (tmp_path / "log").read_bytes()
    assert b"Traceback" not in log


def join(token, directory, name="gate"):
    return EdgeJoiner(token, JoinDirectory(directory), lambda _: None).join(name, "data.csv", PATIENCE_S)


def test_devices_join_while_the_aggregator_is_killed_again_and_again(aggregator, tmp_path):
    made, moments = aggregator.tokens("--count", str(WAVES * WAVE)), random.Random(20)
    found = []
    for number in range(WAVES):
        wave = range(number * WAVE, (number + 1) * WAVE)
        with ThreadPoolExecutor(WAVE) as pool:
            joining = [pool.submit(join, made[each], tmp_path / f"device-{each}") for each in wave]
            time.sleep(moments.uniform(0.0, 0.4))  # the fault: about the time that such a wave takes
            aggregator.kill()
            aggregator.start()
            found += [each.result(PATIENCE_S) for each in joining]
    with open_store(aggregator.state) as store:
        devices = {each.id.hex(): each for each in store.devices()}
        states = {each.state for each in tokens.entries(store, time.time())}
    assert len(devices) == len({each.device for each in found}) == WAVES * WAVE
    assert states == {"joined"}
    for number, outcome in enumerate(found):
        keys = load_device_keys(tmp_path / f"device-{number}" / "keys")
        assert (
            devices[outcome.device].credential == (tmp_path / f"device-{number}" / "keys" / "credential").read_bytes()
        )
        assert (keys.id.hex(), keys.credential.name) == (outcome.device, outcome.name)


def test_a_device_waits_for_approval_and_a_thief_of_its_token_is_alarmed(aggregator, tmp_path):
    token = aggregator.tokens("--approve", "--name", "gate-7")[0]
    with ThreadPoolExecutor(1) as pool:
        joining = pool.submit(join, token, tmp_path / "device")
        assert aggregator.await_notice("pending") == {"event": "pending", "device": "gate-7", "token": token.id.hex()}
        waiting = json.loads(aggregator.command("device", "list", "--json").stdout)
        assert [(each["name"], each["state"]) for each in waiting] == [("gate-7", "pending")]
        assert aggregator.command("device", "approve", "gate-7").returncode == 0
        outcome = joining.result(PATIENCE_S)
    assert outcome.name == "gate-7"
    assert aggregator.await_notice("joined")["id"] == outcome.device
    command = [sys.executable, "-m", "edge_client", "join", "-", "--dir", str(tmp_path / "thief")]
    thief = subprocess.run(
        command,
        input=write_token(token),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=os.environ | {"HOME": "/"},
    )
    assert thief.returncode == 2
    assert "used by another device" in thief.stderr
    assert aggregator.await_notice("alarm")["device"] == "gate-7"
    log = (tmp_path / "log").read_bytes()
    assert token.secret.hex().encode() not in log


def test_a_device_that_slept_past_its_credential_is_renewed_when_it_wakes(aggregator, broker, tmp_path, monkeypatch):
    directory, days = tmp_path / "sleeper", 86_400
    asleep_since_s = time.time() - 31 * days
    with monkeypatch.context() as patch:
        patch.setattr("aggregator.enrolment.provision.time.time", lambda: asleep_since_s)
        address = Address(broker.host, broker.port, TlsMode.NONE)
        made = new_device(aggregator.state, "sleeper", directory, broker=address, data=str(tmp_path / "none.csv"))
    held = load_device_keys(directory / "keys").credential.not_after
    command = [sys.executable, "-m", "edge_client", "run", "--config", str(directory / "edge.toml")]
    (tmp_path / "none.csv").write_text("x,y\n1,2\n")
    with (tmp_path / "device.log").open("wb") as log, subprocess.Popen(command, stderr=log, stdout=log) as daemon:
        try:
            renewed = aggregator.await_notice("renewed")
            assert (renewed["device"], renewed["id"]) == ("sleeper", made.id.hex())
            while aggregator.await_notice("ready")["devices"] != 1:
                pass
        finally:
            daemon.terminate()
    credential = load_device_keys(directory / "keys").credential
    assert credential.not_after == renewed["not_after"] > held
    assert credential.device == made.id
