"""What systemd hears."""

import socket
from pathlib import Path

import pytest

from fedloom.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(tmp_path / "notify"))
    listener.settimeout(5.0)
    return listener


def test_lines_are_one_datagram(manager: socket.socket) -> None:
    with manager:
        Notifier({"NOTIFY_SOCKET": manager.getsockname()}).say("READY=1", "STATUS=connecting")
        assert manager.recv(100) == b"READY=1\nSTATUS=connecting"


def test_the_watchdog_is_fed_in_time_and_not_at_every_step(manager: socket.socket) -> None:
    now_s = 100.0
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "8000000"}
    with manager:
        notifier = Notifier(environment, lambda: now_s)
        fed = 0
        for _ in range(100):
            now_s += 0.1
            notifier.alive()
        manager.settimeout(0.0)
        while True:
            try:
                assert manager.recv(100) == b"WATCHDOG=1"
            except BlockingIOError:
                break
            fed += 1
    assert 10.0 / 4.0 <= fed <= 6


def test_without_a_manager_nothing_happens() -> None:
    notifier = Notifier({})
    notifier.say("READY=1")
    notifier.alive()
    assert notifier.alive_every_s == 0.0


def test_a_manager_that_is_gone_does_not_end_us(tmp_path: Path) -> None:
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).say("READY=1")
