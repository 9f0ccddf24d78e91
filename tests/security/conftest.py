"""A TCP relay between clients and a real broker that keeps every byte that passes, as a hostile broker would."""

import contextlib
import socket
import threading
from collections import defaultdict

import pytest

from simulation.processes import LocalFleet


class Tap:
    """Listens on `address`, connects each client to the broker, records both directions of each connection."""

    def __init__(self, broker: tuple[str, int]) -> None:
        self._broker = broker
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        self._streams: dict[tuple[int, str], bytearray] = defaultdict(bytearray)
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def captured(self) -> list[bytes]:
        """The bytes of each direction of each connection."""
        return [bytes(stream) for stream in list(self._streams.values())]

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._broker)
            self._sockets += [client, server]
            for source, sink, direction in ((client, server, "up"), (server, client, "down")):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                stream = self._streams[number, direction]
                threading.Thread(target=_relay, args=(source, sink, stream), daemon=True).start()
            number += 1


def _relay(source: socket.socket, sink: socket.socket, stream: bytearray) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(65536):
            stream += chunk
            sink.sendall(chunk)
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


class TappedFleet(LocalFleet):
    """A fleet whose every connection goes through a tap."""

    tap: Tap | None = None

    def address(self) -> tuple[str, int]:
        if self.tap is None:
            self.tap = Tap(super().address())
        return self.tap.address

    def stop(self, *, gently: bool = True) -> None:
        super().stop(gently=gently)
        if self.tap is not None:
            self.tap.close()


@pytest.fixture
def tapped_fleet() -> type[TappedFleet]:
    return TappedFleet
