"""A state is restored while the aggregator that it was taken from still runs: one of the two must end."""

import subprocess
import sys
import time

import pytest
from stage import PATIENCE_S

from aggregator.backup.restore import restore
from aggregator.backup.take import take
from fedloom.link.base import Received
from fedloom.link.mqtt import MqttConfig, MqttLink


def quiet(*progress):
    """Nobody watches."""


@pytest.fixture
def aggregator(broker):
    """`aggregator(directory)`: a real `fedloom aggregator run` of the configuration there."""
    running = []

    def start(directory):
        text = f'job = "job.toml"\n[broker]\nhost = "{broker.host}"\nport = {broker.port}\n'
        (directory / "aggregator.toml").write_text(text)
        command = [sys.executable, "-m", "fedloom.command", "aggregator", "run", "--json"]
        process = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_the_one_with_the_lost_state_ends(make_rig, broker, aggregator, tmp_path):
    rig = make_rig()
    topics, manifests = rig.devices[0].topics, []

    def hear(event):
        if isinstance(event, Received) and event.payload:
            manifests.append(event.payload)
            link.acknowledge(event)

    link = MqttLink(MqttConfig(host=broker.host, port=broker.port), f"test-{rig.devices[0].id.hex()}", hear)
    link.subscribe(topics.manifest)
    link.start()
    try:
        first = aggregator(tmp_path)
        for device in rig.devices:
            link.publish(topics.state(device.id), device.presence(), retain=True)
        wait_for(lambda: manifests)
        take(rig.state, tmp_path / "backup", quiet)
        other = tmp_path / "other"
        other.mkdir()
        restore(tmp_path / "backup", other / "state", quiet)
        (other / "job.toml").write_bytes((tmp_path / "job.toml").read_bytes())
        second = aggregator(other)
        _, told = first.communicate(timeout=2 * PATIENCE_S)
        assert first.returncode == 2
        assert "another aggregator uses this identity" in told
        rig.devices[0].take_manifest(manifests[0])
        before = rig.devices[0].manifest
        rig.devices[0].take_manifest(manifests[-1])
        assert rig.devices[0].manifest.version > before.version + 1
        assert (rig.devices[0].manifest.round, rig.devices[0].manifest.attempt) == (1, 2)
        assert second.poll() is None
    finally:
        link.close()


def wait_for(condition):
    deadline = time.monotonic() + 2 * PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
