"""What systemd hears from the daemon: ready, alive while idle and while training, stopping."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_client.config import EdgeConfig
from edge_client.shell import Daemon
from fedloom.data.config import SourceConfig
from fedloom.link.config import MqttConfig
from fedloom.link.memory import MemoryBroker, MemoryLink


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A service manager's socket; its watchdog bites after 0.2 s."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        yield listener


@pytest.fixture
def config(aggregator: Any, tmp_path: Path) -> EdgeConfig:
    aggregator.write_keys(tmp_path / "keys")
    data = SourceConfig(str(tmp_path / "data.csv"))
    return EdgeConfig(MqttConfig("localhost"), data, state=str(tmp_path / "state"), keys=str(tmp_path / "keys"))


def make_daemon(config: EdgeConfig, **options: Any) -> Daemon:
    broker = MemoryBroker()
    return Daemon(
        config, lambda: config, lambda _, name, tell, will: MemoryLink(broker, name, tell, will=will), **options
    )


def test_ready_alive_and_stopping(manager: socket.socket, config: EdgeConfig) -> None:
    daemon = make_daemon(config)
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        assert manager.recv(1000).startswith(b"READY=1\n")
        for _ in range(3):
            assert manager.recv(1000) == b"WATCHDOG=1"
    finally:
        daemon.stop()
        thread.join(10)
    said = [b""]
    while said[-1] != b"STOPPING=1":
        said.append(manager.recv(1000))


def test_training_feeds_the_watchdog_at_its_steps(manager: socket.socket, config: EdgeConfig) -> None:
    now_s = 100.0
    daemon = make_daemon(config, clock=lambda: now_s)
    assert not daemon._should_stop()
    assert manager.recv(1000) == b"WATCHDOG=1"
    now_s += 0.2
    assert not daemon._should_stop()
    assert manager.recv(1000) == b"WATCHDOG=1"
    daemon.stop()
    assert daemon._should_stop()
    daemon.run()  # lets go of the state directory
