"""Prepared updates through a real broker to `fedloom aggregator run`, and the receipts back."""

import os
import queue
import sys
import time
from pathlib import Path

import processes
from prepared import Prepared, Round, update_body
from processes import Failed, Process
from work import Work

from aggregator.keys import SuiteName
from fedloom.link.base import Event, Received
from fedloom.link.config import MqttConfig
from fedloom.link.mqtt import MqttLink
from fedloom.wire import envelope
from fedloom.wire.chunks import split
from fedloom.wire.envelope import Type
from simulation.broker import start_broker

WINDOW = 256
"""Updates on their way: a fleet that answers at once, and a broker's queue that does not overflow."""
PATIENCE_S = 20.0


class Crowd:
    """One MQTT connection that speaks for all devices."""

    def __init__(self, prepared: Prepared, broker: MqttConfig) -> None:
        self._prepared = prepared
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._received: set[bytes] = set()
        """Devices that have their receipt."""
        self.link = MqttLink(broker, "crowd", self._events.put)
        for topic in (prepared.topics.manifest, prepared.topics.down(bytes(16)).replace(bytes(16).hex(), "+")):
            self.link.subscribe(topic)
        self.link.start()

    def join_round(self) -> Round:
        """All are ready; the round that they are asked to."""
        for sender in self._prepared.senders:
            self.link.publish(self._prepared.topics.state(sender.id), self._prepared.presence(sender), retain=True)
        while True:
            message = self._next()
            if message.topic == self._prepared.topics.manifest and message.payload:
                return Round(message.payload)

    def send(self, blobs: list[bytes]) -> float:
        """Seconds until each of so many devices has its receipt."""
        began_s = time.perf_counter()
        for number, (sender, blob) in enumerate(zip(self._prepared.senders, blobs, strict=False)):
            while number - len(self._received) >= WINDOW:
                self._next()
            for message in split(blob):
                self.link.publish(self._prepared.topics.up(sender.id), message)
        while len(self._received) < len(blobs):
            self._next()
        return time.perf_counter() - began_s

    def await_receipt(self, topic: str, blob: bytes) -> float:
        """Publish an update once; when its receipt came, on the monotonic clock."""
        self._received.clear()
        self.link.publish(topic, blob)
        while not self._received:
            self._next()
        return time.monotonic()

    def _next(self) -> Received:
        """The next message."""
        while True:
            try:
                event = self._events.get(timeout=PATIENCE_S)
            except queue.Empty:
                raise Failed(f"no message within {PATIENCE_S:g} s, {len(self._received)} receipts came") from None
            if isinstance(event, Received):
                self.link.acknowledge(event)
                header = envelope.parse(event.payload, len(event.payload)).header if event.payload else None
                if header and header.type is Type.RECEIPT:
                    self._received.add(header.recipient)
                return event


def ingest(directory: Path, suite: SuiteName, work: Work) -> tuple[float, float]:
    """Seconds until all receipts are there, and processor seconds that the aggregator took for it."""
    directory.mkdir(parents=True)
    with start_broker(directory) as broker:
        config = MqttConfig(broker.host, broker.port)
        prepared = Prepared(directory / "ours", suite, work.devices, config, work.as_job())
        process = start_aggregator(prepared, directory)
        crowd = Crowd(prepared, config)
        try:
            opened, body = crowd.join_round(), update_body(int(work.model_kib * 256))
            blobs = [prepared.update(sender, opened, body) for sender in prepared.senders]
            before_s = processor_s(process.pid)
            took_s = crowd.send(blobs)
            return took_s, processor_s(process.pid) - before_s
        except Failed as error:
            raise Failed(f"{error}; {process.last_words()}") from None
        finally:
            crowd.link.close()
            processes.end([process])


def start_aggregator(prepared: Prepared, directory: Path, *options: str) -> Process:
    """By its own command."""
    command = [sys.executable, "-m", "fedloom.command", "aggregator", "run", "--config", str(prepared.config)]
    return processes.start([*command, *options], directory / "aggregator.log")


def processor_s(pid: int) -> float:
    """User and system time of a process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
