"""Starts an MQTT broker of our own on 127.0.0.1: Mosquitto where it is installed, else amqtt."""

import atexit
import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from fedloom.errors import LinkError
from simulation.children import die_with_parent, interrupts_held

Kind = Literal["mosquitto", "amqtt"]
BrokerKind = Literal["auto", "mosquitto", "amqtt"]
"""`auto`: Mosquitto where it is installed."""

HOST = "127.0.0.1"
AMQTT_READY = "amqtt listens"
"""Printed by `simulation.amqtt_broker` when connections are accepted. It is here as that module takes asyncio."""
START_TIMEOUT_S = 20.0
START_ATTEMPTS = 5
"""Another process may take the port between our choosing it and the broker's binding it."""

_MOSQUITTO = """\
listener {port} {host}
allow_anonymous true
persistence false
set_tcp_nodelay true
max_queued_messages 0
max_inflight_messages 1000
max_keepalive 65535
queue_qos0_messages false
log_dest stderr
connection_messages false
"""


def find_mosquitto() -> str | None:
    """Its path: Debian puts it where a user's PATH does not look."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")


class Broker:
    """A running broker process; a context manager that ends it."""

    def __init__(self, directory: Path, kind: Kind, mosquitto_lines: Sequence[str] = ()) -> None:
        self.host = HOST
        self.port = 0
        self.kind: Kind = kind
        self.log = directory / f"{kind}.log"
        self._directory = directory
        self._lines = mosquitto_lines
        self._process: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """SIGKILL: whatever it has not written to disk is gone, and we have it write nothing."""
        self._end(gently=False)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that does not help."""
        self._end(gently=True)

    def restart(self) -> None:
        """Start again on the same port, with nothing remembered.

        Raises:
            LinkError: it does not come up.
        """
        self.stop()
        self._start_on(self.port)

    def start(self) -> Self:
        """Start on a port that is free.

        Raises:
            LinkError: it does not come up.
        """
        for attempt in range(1, START_ATTEMPTS + 1):
            self.port = _free_port()
            try:
                self._start_on(self.port)
            except LinkError:
                if attempt == START_ATTEMPTS:
                    raise
            else:
                break
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    def _start_on(self, port: int) -> None:
        with self.log.open("wb") as log, interrupts_held():
            self._process = subprocess.Popen(
                self._command(port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(),  # one system call, looked up before the fork
            )
        atexit.register(self.stop)
        try:
            self._await_start()
        except LinkError:
            self.kill()
            raise

    def _command(self, port: int) -> list[str]:
        if self.kind == "amqtt":
            return [sys.executable, "-m", "simulation.amqtt_broker", "--port", str(port)]
        text = _MOSQUITTO.format(port=port, host=HOST) + "".join(f"{line}\n" for line in self._lines)
        if os.geteuid() == 0:
            text += "user root\n"  # else it would change to a user who cannot enter our directory
        config = self._directory / "mosquitto.conf"
        config.write_text(text, encoding="utf-8")
        return [find_mosquitto() or "mosquitto", "-c", str(config)]

    def _await_start(self) -> None:
        """Its own log says that it listens, so that another process on the port is not taken for it."""
        ready = AMQTT_READY if self.kind == "amqtt" else " running"
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            ended = self._process is None or self._process.poll() is not None
            said = self.log.read_text(encoding="utf-8", errors="replace")
            if ended:
                raise LinkError(f"{self.kind} ended at once: {said.strip()[-500:]}")
            if ready in said and _accepts(self.port):
                return
            time.sleep(0.01)
        raise LinkError(
            f"{self.kind} does not listen on {HOST}:{self.port} after {START_TIMEOUT_S:g} s; see {self.log}"
        )

    def _end(self, *, gently: bool) -> None:
        atexit.unregister(self.stop)
        process, self._process = self._process, None
        if process is None:
            return
        if gently:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=3.0)
        process.kill()
        process.wait()


def start_broker(
    directory: Path, kind: Literal["auto", "mosquitto", "amqtt"] = "auto", mosquitto_lines: Sequence[str] = ()
) -> Broker:
    """A broker on a free port of 127.0.0.1, its configuration and log in `directory`.

    `mosquitto_lines` are added to Mosquitto's configuration (TLS, users, limits); amqtt has no such thing.

    Raises:
        LinkError: none is installed, or it does not come up.
    """
    if kind == "auto":
        kind = "mosquitto" if find_mosquitto() else "amqtt"
    if kind == "mosquitto" and find_mosquitto() is None:
        raise LinkError("mosquitto is not installed; install it, or use amqtt: pip install 'fedloom[sim]'")
    if kind == "amqtt" and importlib.util.find_spec("amqtt") is None:
        raise LinkError("no MQTT broker is installed; install mosquitto, or run: pip install 'fedloom[sim]'")
    directory.mkdir(parents=True, exist_ok=True)
    return Broker(directory, kind, mosquitto_lines).start()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1.0):
            return True
    except OSError:
        return False
