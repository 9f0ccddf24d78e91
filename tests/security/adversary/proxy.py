"""The man in the middle: listens where clients connect, talks to the broker behind, and obeys a `Script`.

Everything runs on one event loop in a thread of its own; a script is only ever called there. What a script lets pass
goes on byte for byte. What it swallows is acknowledged to its sender, as a lying broker would; what it makes up travels
under packet ids of the proxy's own, whose acknowledgements end here. So both sides' bookkeeping stays in order.
"""

import asyncio
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from hashlib import sha256
from itertools import cycle
from typing import Any

import numpy as np

from adversary import mqtt
from adversary.message import Message, Send
from fedloom.wire import chunks

OWN_IDS = range(0xC000, 0x10000)
"""Packet ids of what the proxy makes up; fedloom's clients and the brokers count up from 1."""
REMEMBERED = 4000
"""Deliveries that can be replayed."""
PATIENCE_S = 10.0


class Script:
    """What the broker does. The base lets everything pass: `None` passes, a list replaces."""

    is_frozen = False
    """No byte passes in either direction."""

    def begin(self, wire: "Proxy") -> None:
        """The script is on from now."""

    def taken(self, message: Message, wire: "Proxy") -> Sequence[Send] | None:
        """A client has published this."""
        return None

    def delivered(self, message: Message, wire: "Proxy") -> Sequence[Send] | None:
        """The broker would hand this to a client."""
        return None

    def end(self, wire: "Proxy") -> None:
        """The script lets go."""


class Proxy:
    """A context manager; `wire` is what scripts call it."""

    def __init__(self, broker: tuple[str, int], devices: Sequence[str], seed: int) -> None:
        self.devices = tuple(devices)
        """Client ids of the devices; the other client is the aggregator."""
        self.victims = cycle(self.devices)
        """For scripts that pick one."""
        self.rng = np.random.default_rng(seed)
        self.acted = 0
        """Messages that scripts did not simply let pass, and those that they made up."""
        self.errors: list[str] = []
        """What was not MQTT as we know it, and what a script did wrong."""
        self.remembered: deque[Message] = deque(maxlen=REMEMBERED)
        """What the broker was about to deliver, as it was."""
        self.last_week: list[Message] = []
        """The same, of an earlier run."""
        self.presence: dict[str, Message] = {}
        """What each device last said of itself, by device."""
        self.published: dict[str, set[bytes]] = defaultdict(set)
        """The first 16 bytes of the SHA-256 of each envelope that a client handed in itself, by client."""
        self.memberships: list[Message] = []
        """What the registrar has handed in, for devices that join and for those that it renews."""
        self.wills: dict[str, Message] = {}
        """The last will of each client's newest connection."""
        self.max_packet_bytes: dict[str, int] = {}
        """What CONNACK shall say to some clients (MQTT 5)."""
        self.address = ("127.0.0.1", 0)
        self._broker = broker
        self._script = Script()
        self._connections: dict[str, _Connection] = {}
        self._captured: list[bytearray] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> "Proxy":
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def follow(self, script: Script) -> None:
        """Do as this script says from now on, instead of the one before; from any thread."""

        async def change() -> None:
            self._script.end(self)
            self._script = script
            self.acted = 0
            (self._thawed.clear if script.is_frozen else self._thawed.set)()
            script.begin(self)

        self._call(change())

    def hang_up(self, *clients: str) -> None:
        """Cut connections, of all clients if none is named; from any thread."""

        async def cut() -> None:
            self.cut(*clients)

        self._call(cut())

    def captured(self) -> list[bytes]:
        """What each connection has handed in since the last call; from any thread."""

        async def take() -> list[bytes]:
            streams = [bytes(each) for each in self._captured]
            for each in self._captured:
                each.clear()
            return streams

        streams: list[bytes] = self._call(take())
        return streams

    # What follows is for scripts, which run on the proxy's thread.

    def send(self, *sends: Send) -> None:
        """Have messages of our own travel."""
        for message, delay_s in sends:
            self.acted += 1
            self.later(delay_s, partial(self._emit, message))

    def later(self, delay_s: float, what: Callable[[], None]) -> None:
        """Call back, at once for no delay: the order of what is sent is kept."""
        if delay_s:
            self._loop.call_later(delay_s, what)
        else:
            what()

    def cut(self, *clients: str) -> None:
        """Cut connections, of all clients if none is named."""
        for client in clients or tuple(self._connections):
            if connection := self._connections.pop(client, None):
                connection.close()

    @property
    def aggregator(self) -> str:
        """Its client id; nothing while it is away."""
        return next((each for each in self._connections if each not in self.devices), "")

    @property
    def clients(self) -> tuple[str, ...]:
        """The ids of all clients that are connected."""
        return tuple(self._connections)

    def neighbour(self, device: str) -> str:
        """Another device."""
        return self.devices[(self.devices.index(device) + 1) % len(self.devices)]

    def _emit(self, message: Message) -> None:
        if connection := self._connections.get(message.client):
            connection.emit(message)

    def _call(self, what: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(PATIENCE_S)

    async def _listen(self) -> None:
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = self._server.sockets[0].getsockname()

    async def _close(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except asyncio.CancelledError:
            return  # by `_close`
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._thawed.wait()
        try:
            broker_reader, broker_writer = await asyncio.open_connection(*self._broker)
        except OSError:
            return
        connection = _Connection(self, writer, broker_writer)
        up, down = (
            asyncio.create_task(self._pump(source, connection, to_client))
            for source, to_client in ((reader, False), (broker_reader, True))
        )
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (up, down):
                each.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            connection.close()
            if self._connections.get(connection.client) is connection:
                del self._connections[connection.client]

    async def _pump(self, source: asyncio.StreamReader, connection: "_Connection", to_client: bool) -> None:
        buffer, capture = bytearray(), bytearray()
        if not to_client:
            self._captured.append(capture)
        try:
            while data := await source.read(65536):
                await self._thawed.wait()
                if not to_client:
                    capture += data
                buffer += data
                for packet in mqtt.split_packets(buffer):
                    connection.packet(packet, to_client)
                await connection.drain()
        except ConnectionError:
            return
        except Exception as error:
            self.errors.append(f"{connection.client}: {error!r}")
            raise

    def connected(self, connection: "_Connection", will: Message | None) -> None:
        """A client has said who it is."""
        self._connections[connection.client] = connection
        if will:
            self.wills[connection.client] = will

    def passes(self, message: Message) -> bool:
        """Ask the script; False: what it wants instead has been sent, and the message itself is not to go on."""
        if message.to_client:
            self.remembered.append(message)
            sends = self._script.delivered(message, self)
        else:
            self.published[message.client].add(_short_digest(message))
            if message.kind == "presence":
                self.presence[message.client] = message
            if message.kind == "membership":
                self.memberships.append(message)
            sends = self._script.taken(message, self)
        if sends is None:
            return True
        self.acted += 1
        for each, delay_s in sends:
            self.later(delay_s, partial(self._emit, each))
        return False


class _Connection:
    """One client's connection, and the one to the broker that goes with it."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, broker: asyncio.StreamWriter) -> None:
        self.client = ""
        self._level = 4
        self._proxy = proxy
        self._writers = {True: client, False: broker}
        self._ids = {True: cycle(OWN_IDS), False: cycle(OWN_IDS)}
        self._unacknowledged: dict[bool, set[int]] = {True: set(), False: set()}
        """Ids of our own messages, by direction."""

    def packet(self, packet: mqtt.Packet, to_client: bool) -> None:
        """Take one from either side, and let it pass or not."""
        match packet.type:
            case mqtt.Kind.CONNECT:
                self._connect(mqtt.parse_connect(packet))
            case mqtt.Kind.CONNACK if self._level == mqtt.V5 and (limit := self._limit):
                packet = mqtt.limit_packets(packet, limit)
            case mqtt.Kind.PUBACK if self._is_ours(packet, to_client):
                return
            case mqtt.Kind.PUBLISH if not self._publish(packet, to_client):
                return
        self._writers[to_client].write(packet.pack())

    def emit(self, message: Message) -> None:
        """A message of ours, at QoS 1."""
        if self._writers[message.to_client].is_closing():
            return
        packet_id = next(self._ids[message.to_client])
        self._unacknowledged[message.to_client].add(packet_id)
        publish = mqtt.Publish(message.topic, message.payload, message.retain, 1, packet_id, b"")
        self._writers[message.to_client].write(mqtt.pack_publish(publish, self._level))

    async def drain(self) -> None:
        for writer in self._writers.values():
            await writer.drain()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    @property
    def _limit(self) -> int | None:
        return self._proxy.max_packet_bytes.get(self.client)

    def _connect(self, connect: mqtt.Connect) -> None:
        self.client, self._level = connect.client, connect.level
        will = Message(self.client, False, connect.will_topic, connect.will, True) if connect.will else None
        self._proxy.connected(self, will)

    def _is_ours(self, packet: mqtt.Packet, to_client: bool) -> bool:
        """Whether this acknowledges a message of ours, which travelled the other way."""
        packet_id, ours = mqtt.packet_id_of(packet), self._unacknowledged[not to_client]
        if packet_id not in ours:
            return False
        ours.remove(packet_id)
        return True

    def _publish(self, packet: mqtt.Packet, to_client: bool) -> bool:
        publish = mqtt.parse_publish(packet, self._level)
        message = Message(self.client, to_client, publish.topic, publish.payload, publish.retain)
        if self._proxy.passes(message):
            return True
        if publish.qos:
            self._writers[not to_client].write(mqtt.pack_puback(publish.packet_id))
        return False


def _short_digest(message: Message) -> bytes:
    """The start of the SHA-256 of the envelope, which each of its frames carries as well."""
    if chunks.is_frame(message.payload):
        return message.payload[4:20]
    return sha256(message.payload).digest()[:16]
