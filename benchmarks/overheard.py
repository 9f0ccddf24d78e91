"""Bytes of the messages that pass a broker, by kind, as a client counts them that subscribes to everything."""

import statistics
import threading
from collections import defaultdict
from types import TracebackType
from typing import Self

from aggregator.assembler import Assembler
from fedloom.link import base
from fedloom.link.config import MqttConfig
from fedloom.link.mqtt import MqttLink
from fedloom.wire.chunks import MAGIC as FRAME_MAGIC
from fedloom.wire.envelope import MAGIC, Envelope, Type, parse

MAX_BYTES = 16 * 2**20


class Listener:
    """A context manager; each envelope counts once, however often it is sent."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._envelopes: dict[bytes, Envelope] = {}
        self._frames: dict[bytes, int] = {}
        self._framed: dict[str, int] = defaultdict(int)
        self._assembler = Assembler(MAX_BYTES, max_transfers=64)
        self._is_subscribed = threading.Event()
        self._link = MqttLink(MqttConfig(*address), "overheard", self._heard)

    def __enter__(self) -> Self:
        self._link.start()
        self._link.subscribe("fedloom/#")
        if not self._is_subscribed.wait(30.0):
            self._link.close()
            raise TimeoutError("the broker does not confirm a subscription to everything")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._link.close()

    def size(self, kind: Type) -> float:
        """Median bytes of a whole envelope."""
        return statistics.median(len(each.blob) for each in self._of(kind))

    def envelope_bytes(self, kind: Type) -> float:
        """Median of what header, signature and seal add to the plain body."""
        return statistics.median(len(each.blob) - each.header.plain_length for each in self._of(kind))

    def plain_bytes(self, kind: Type) -> float:
        """Median of the plain body."""
        return statistics.median(each.header.plain_length for each in self._of(kind))

    def frame_bytes(self) -> float:
        """Median of what frames add to an update that fits no single message."""
        return statistics.median(self._frames.values())

    def _of(self, kind: Type) -> list[Envelope]:
        return [each for each in list(self._envelopes.values()) if each.header.type is kind]

    def _heard(self, event: base.Event) -> None:
        if isinstance(event, base.Subscribed):
            self._is_subscribed.set()
        if not isinstance(event, base.Received):
            return
        self._link.acknowledge(event)
        blob: bytes | None = event.payload
        if event.payload.startswith(FRAME_MAGIC):
            self._framed[event.topic] += len(event.payload)
            blob = self._assembler.accept(event.payload, event.topic)
        if blob and blob.startswith(MAGIC):
            message = parse(blob, MAX_BYTES)
            self._envelopes[message.digest] = message
            if framed := self._framed.pop(event.topic, 0):
                self._frames[message.digest] = framed - len(blob)
