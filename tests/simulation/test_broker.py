"""Brokers start on free ports, die and come back on the same one, and never outlive whoever started them."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fedloom.errors import LinkError
from simulation import broker as module
from simulation.broker import find_mosquitto, start_broker

KINDS = [
    pytest.param("mosquitto", marks=pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")),
    "amqtt",
]


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(condition, deadline_s: float = 10.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_starts_dies_and_comes_back_on_its_port(tmp_path, kind) -> None:
    with start_broker(tmp_path, kind) as broker:
        assert broker.kind == kind
        assert broker.host == "127.0.0.1"
        assert accepts(broker.port)
        broker.kill()
        assert not accepts(broker.port)
        broker.restart()
        assert accepts(broker.port)
        port = broker.port
    assert not accepts(port)


def test_auto_takes_mosquitto_where_it_is_and_amqtt_elsewhere(tmp_path, monkeypatch) -> None:
    with start_broker(tmp_path / "a") as broker:
        assert broker.kind == ("mosquitto" if find_mosquitto() else "amqtt")
    monkeypatch.setattr(module, "find_mosquitto", lambda: None)
    with start_broker(tmp_path / "b") as broker:
        assert broker.kind == "amqtt"
    with pytest.raises(LinkError, match="mosquitto is not installed"):
        start_broker(tmp_path / "c", "mosquitto")


@pytest.mark.parametrize("kind", KINDS)
def test_another_port_is_tried_when_the_first_is_taken(tmp_path, monkeypatch, kind) -> None:
    free_port = module._free_port
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = [taken.getsockname()[1], free_port()]
        monkeypatch.setattr(module, "_free_port", lambda: ports.pop(0))
        with start_broker(tmp_path, kind) as broker:
            assert ports == []
            assert broker.port != taken.getsockname()[1]


@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
def test_a_broker_that_cannot_start_says_why(tmp_path) -> None:
    with pytest.raises(LinkError, match="nonsense"):
        start_broker(tmp_path, "mosquitto", ["nonsense 1"])


STARTER = """
import sys, time
from pathlib import Path
from simulation.broker import start_broker
broker = start_broker(Path(sys.argv[1]), sys.argv[2])
print(broker.port, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the kernel of Linux")
@pytest.mark.parametrize("kind", KINDS)
def test_a_broker_does_not_outlive_a_parent_that_was_killed(tmp_path, kind) -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", STARTER, str(tmp_path), kind]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as parent:
        port = int(parent.stdout.readline())
        assert accepts(port)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        until(lambda: not accepts(port))
