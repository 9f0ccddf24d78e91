"""A service on a memory broker that others have used before it, to see what it says and does there."""

import asyncio
import sqlite3

import msgspec

from aggregator.service import Service
from aggregator.startup import assemble
from fedloom import msgpack
from fedloom.link.base import Received
from fedloom.link.memory import MemoryBroker, MemoryLink
from fedloom.wire.envelope import Header, Type, parse, write_clear
from fedloom.wire.messages import Manifest

PATIENCE_S = 20.0


class Stage:
    """A service on a memory broker that already has what others have published, and a record of what is published."""

    def __init__(self, rig, broker=None):
        self.rig = rig
        self.broker = broker or MemoryBroker()
        self.heard = []
        self.other = MemoryLink(self.broker, "other", self._hear)
        self.other.subscribe("#")
        self.other.start()
        self.broker.run()

    def _hear(self, event):
        if isinstance(event, Received):
            self.heard.append((event.topic, event.payload))
            self.other.acknowledge(event)

    def retain(self, topic, payload):
        self.other.publish(topic, payload, retain=True)
        self.broker.run()
        self.heard.clear()

    def service(self, make_link=None):
        self.rig.parts = parts = assemble(self.rig.config)
        make = make_link or (lambda on_event: MemoryLink(self.broker, parts.client_id, on_event))
        return Service(
            parts.core, parts.archive, parts.gate, parts.fleet.topics, make, lambda notice: None, broker="hub"
        )

    def run(self, service, until=lambda: False):
        async def pump():
            while not until():
                self.broker.run()
                await asyncio.sleep(0.001)
            service.stop()

        async def both():
            pumping = asyncio.create_task(pump())
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await service.run()
            finally:
                pumping.cancel()
            self.broker.run()

        asyncio.run(both())

    def topics(self):
        return [topic for topic, _ in self.heard]


def forged(manifest, signer, sender=None, **changes):
    """The manifest with changes, signed by whom one likes."""
    envelope = parse(manifest, 2**20)
    body = msgspec.structs.replace(msgpack.decode(envelope.clear(), Manifest), **changes)
    header = Header(Type.MANIFEST, envelope.header.federation, sender or envelope.header.sender, bytes(16))
    return write_clear(header, msgpack.encode(body), signer)


def database(rig):
    """All that is in it, but for how often an aggregator has begun."""
    with sqlite3.connect(rig.state / "aggregator.db") as connection:
        return [line for line in connection.iterdump() if "'epoch'" not in line]
