"""amqtt as a broker on 127.0.0.1, in a process of its own: `python -m simulation.amqtt_broker --port N`.

What comes from pip alone: MQTT 3.1.1. amqtt keeps sessions only for clients with a user name, so anonymous ones are
refused here; any user name will do. asyncio sets TCP_NODELAY on its sockets. It forgets what a client has not
acknowledged after five seconds, or when the client goes.

Left alone with a CONNECT of MQTT 5, amqtt 0.12 waits for ever for bytes that will not come. So we look at the version
first and refuse as the standard says, and clients fall back to 3.1.1 without waiting.
"""

import argparse
import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from simulation.broker import AMQTT_READY

if TYPE_CHECKING:
    from amqtt.broker import Broker

_MQTT_311 = 4
_UNSUPPORTED_VERSION = bytes([0x20, 3, 0, 0x84, 0])  # CONNACK: length, no session, reason code, no properties
_HEAD_TIMEOUT_S = 10.0


async def serve(port: int) -> None:
    """Until cancelled."""
    from amqtt.broker import Broker

    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": False}}
    broker = Broker({"listeners": {"default": {"type": "external"}}, "plugins": plugins})
    await broker.start()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            await _admit(broker, reader, writer)
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", port) as server:
        print(f"{AMQTT_READY} on 127.0.0.1:{port}", flush=True)  # noqa: T201 - the parent waits for this line
        await server.serve_forever()


async def _admit(broker: "Broker", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hand a 3.1.1 client to amqtt, with the bytes already read; refuse any other version."""
    from amqtt.adapters import StreamWriterAdapter

    head = await asyncio.wait_for(_read_head(reader), _HEAD_TIMEOUT_S)
    if head[-1] > _MQTT_311:
        writer.write(_UNSUPPORTED_VERSION)
        await writer.drain()
        return
    await broker.external_connected(_Replay(head, reader), StreamWriterAdapter(writer), "default")


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    """A CONNECT up to its protocol level: type, remaining length (1 to 4 bytes), name (2 + 4 bytes), level."""
    head = await reader.readexactly(2)
    while head[-1] & 0x80 and len(head) < 5:
        head += await reader.readexactly(1)
    return head + await reader.readexactly(7)


class _Replay:
    """amqtt's ReaderAdapter over bytes that were read already, then the stream."""

    def __init__(self, head: bytes, reader: asyncio.StreamReader) -> None:
        self._head = head
        self._reader = reader

    async def read(self, n: int = -1) -> bytes:
        if n < 0:
            return self._head + await self._reader.read(n)
        if not self._head:
            return await self._reader.readexactly(n)
        first, self._head = self._head[:n], self._head[n:]
        return first + await self._reader.readexactly(n - len(first))

    def feed_eof(self) -> None:
        self._reader.feed_eof()


def main() -> None:
    parser = argparse.ArgumentParser(description="An MQTT 3.1.1 broker on 127.0.0.1.")
    parser.add_argument("--port", type=int, required=True)
    logging.basicConfig(level=logging.ERROR)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
