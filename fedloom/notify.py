"""Tells systemd how the daemon is (sd_notify(3)): a datagram to the socket that it names in the environment."""

import os
import socket
import time
from collections.abc import Callable, Mapping


class Notifier:
    """Does nothing where no service manager listens."""

    def __init__(
        self, environment: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic
    ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._clock = clock
        self.alive_every_s = float(environment.get("WATCHDOG_USEC", "0")) / 2e6
        """Half of the watchdog's patience; 0 where there is none."""
        self._alive_at_s = 0.0

    def say(self, *lines: str) -> None:
        """Send assignments such as READY=1."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            try:
                sender.sendto("\n".join(lines).encode(), self._address)
            except OSError:
                return  # a service manager that restarts must not end us

    def alive(self) -> None:
        """Feed the watchdog; cheap enough for every training step."""
        if self.alive_every_s and self._clock() >= self._alive_at_s:
            self._alive_at_s = self._clock() + self.alive_every_s / 2
            self.say("WATCHDOG=1")
