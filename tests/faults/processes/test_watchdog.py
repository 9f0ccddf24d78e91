"""A service manager waits for WATCHDOG=1: an aggregator whose disk never answers is killed, and the round goes on."""

import signal
import socket
import time
from collections.abc import Iterator

import pytest
from process_fleet import AGGREGATOR, DEVICES, PATIENCE_S, Death, Fleet, Model

pytestmark = pytest.mark.broker
WATCHDOG_S = 1.0


@pytest.fixture
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[socket.socket]:
    """Its socket; a read ends when the watchdog would bite."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path_factory.mktemp("manager") / "notify"))
        listener.settimeout(WATCHDOG_S)
        yield listener


def _await_silence(manager: socket.socket) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    try:
        while time.monotonic() < deadline_s:
            manager.recv(1000)
    except TimeoutError:
        return
    pytest.fail("the watchdog is fed although nothing gets on")


def test_a_write_that_never_returns_ends_in_a_new_start(
    fleet: Fleet, manager: socket.socket, undisturbed: list[Model]
) -> None:
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
    fleet.start(names=DEVICES)
    hung = fleet.start_one(AGGREGATOR, fail=f"aggregator.answer-committed:delay={PATIENCE_S}", environment=environment)
    manager.settimeout(PATIENCE_S)
    assert b"READY=1" in [manager.recv(1000), manager.recv(1000)]
    manager.settimeout(WATCHDOG_S)
    _await_silence(manager)
    assert hung.status is None
    assert "archive.stalled" in fleet.log(AGGREGATOR)
    hung.end(signal.SIGABRT)  # as systemd does
    fleet.finish()
    assert fleet.deaths == [Death(AGGREGATOR, -signal.SIGABRT)]
    assert fleet.models() == undisturbed
