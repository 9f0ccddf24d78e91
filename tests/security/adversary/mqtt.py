"""MQTT packets, as far as a man in the middle has to understand them: strict, versions 3.1.1 and 5.

A packet is one byte of type and flags, the remaining length (a variable byte integer), and that many bytes.
Source: MQTT 3.1.1 and 5.0, sections 2 and 3.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

V5 = 5
MAX_PACKET_SIZE = 0x27
"""CONNACK's property that tells a client how large a packet may be."""
_SIZES = {
    0x01: 1, 0x02: 4, 0x11: 4, 0x13: 2, 0x17: 1, 0x18: 4, 0x19: 1, 0x21: 2, 0x22: 2, 0x23: 2, 0x24: 1, 0x25: 1,
    0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1,
}  # fmt: skip
"""Bytes of the value of each property that has a fixed size."""
_STRINGS = frozenset({0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F})
_PAIR, _VARINT = 0x26, 0x0B


class ProtocolError(Exception):
    """These bytes are not MQTT as fedloom and its brokers speak it."""


class Kind(IntEnum):
    """Types of packets that are looked into; all others pass."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4


class Packet(NamedTuple):
    """One control packet."""

    first: int
    """Type in the upper four bits, flags in the lower."""
    body: bytes

    @property
    def type(self) -> int:
        return self.first >> 4

    def pack(self) -> bytes:
        return bytes([self.first]) + pack_varint(len(self.body)) + self.body


class Publish(NamedTuple):
    """A PUBLISH packet."""

    topic: str
    payload: bytes
    retain: bool
    qos: int
    packet_id: int
    properties: bytes
    """As they were, without their length; empty in 3.1.1."""


class Connect(NamedTuple):
    """What the proxy wants to know of a CONNECT packet."""

    level: int
    client: str
    will_topic: str
    will: bytes
    """Empty where there is none."""


class _Reader:
    """Takes fields off the front; what is not there is an error."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise ProtocolError(f"{count} bytes wanted at {self._at} of {len(self._data)}")
        self._at += count
        return self._data[self._at - count : self._at]

    def integer(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def binary(self) -> bytes:
        return self.take(self.integer(2))

    def text(self) -> str:
        try:
            return self.binary().decode("utf-8")
        except UnicodeDecodeError as error:
            raise ProtocolError("a string is not UTF-8") from error

    def varint(self) -> int:
        value = 0
        for place in range(4):
            byte = self.integer(1)
            value |= (byte & 0x7F) << (7 * place)
            if not byte & 0x80:
                return value
        raise ProtocolError("a variable byte integer of more than four bytes")

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    @property
    def is_empty(self) -> bool:
        return self._at == len(self._data)


def pack_varint(value: int) -> bytes:
    """A variable byte integer."""
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def split_packets(buffer: bytearray) -> list[Packet]:
    """Take all whole packets off the front of `buffer`.

    Raises:
        ProtocolError: a remaining length of more than four bytes.
    """
    packets = []
    while (head := _head(buffer)) is not None:
        start, length = head
        if len(buffer) < start + length:
            break
        packets.append(Packet(buffer[0], bytes(buffer[start : start + length])))
        del buffer[: start + length]
    return packets


def _head(buffer: bytearray) -> tuple[int, int] | None:
    """Where the body starts and how long it is; None while that is not known."""
    length = 0
    for place in range(4):
        if len(buffer) < place + 2:
            return None
        length |= (buffer[place + 1] & 0x7F) << (7 * place)
        if not buffer[place + 1] & 0x80:
            return place + 2, length
    raise ProtocolError("a remaining length of more than four bytes")


def parse_publish(packet: Packet, level: int) -> Publish:
    """Raises ProtocolError: it is not one, or uses what fedloom does not: QoS 2 and topic aliases."""
    reader = _Reader(packet.body)
    topic, qos = reader.text(), packet.first >> 1 & 3
    if qos > 1 or not topic:
        raise ProtocolError(f"QoS {qos}, topic {topic!r}")
    packet_id = reader.integer(2) if qos else 0
    properties = reader.take(reader.varint()) if level == V5 else b""
    parse_properties(properties)
    return Publish(topic, reader.rest(), bool(packet.first & 1), qos, packet_id, properties)


def pack_publish(publish: Publish, level: int) -> bytes:
    """The whole packet, never marked as a duplicate."""
    topic = publish.topic.encode()
    parts = [struct.pack(">H", len(topic)), topic]
    if publish.qos:
        parts.append(struct.pack(">H", publish.packet_id))
    if level == V5:
        parts += [pack_varint(len(publish.properties)), publish.properties]
    first = Kind.PUBLISH << 4 | publish.qos << 1 | publish.retain
    return Packet(first, b"".join([*parts, publish.payload])).pack()


def pack_puback(packet_id: int) -> bytes:
    """Success; the short form is right in both versions."""
    return Packet(Kind.PUBACK << 4, struct.pack(">H", packet_id)).pack()


def packet_id_of(packet: Packet) -> int:
    """Of a PUBACK."""
    return _Reader(packet.body).integer(2)


def parse_connect(packet: Packet) -> Connect:
    """Raises ProtocolError: it is not one of MQTT 3.1.1 or 5."""
    reader = _Reader(packet.body)
    name, level, flags = reader.text(), reader.integer(1), reader.integer(1)
    if name != "MQTT" or level not in (4, V5):
        raise ProtocolError(f"protocol {name!r}, level {level}")
    reader.take(2)  # keepalive
    _skip_properties(reader, level)
    client, will_topic, will = reader.text(), "", b""
    if flags & 0x04:
        _skip_properties(reader, level)
        will_topic, will = reader.text(), reader.binary()
    return Connect(level, client, will_topic, will)


def limit_packets(packet: Packet, size: int) -> Packet:
    """A CONNACK of MQTT 5 that tells the client to send packets of at most `size` bytes."""
    reader = _Reader(packet.body)
    head, properties = reader.take(2), parse_properties(reader.take(reader.varint()))
    properties[MAX_PACKET_SIZE] = struct.pack(">I", size)
    packed = b"".join(bytes([code]) + value for code, value in properties.items())
    return Packet(packet.first, head + pack_varint(len(packed)) + packed)


def parse_properties(data: bytes) -> dict[int, bytes]:
    """Properties by their code, values as they were; of one that is repeated, the last.

    Raises:
        ProtocolError: one is not known, or torn.
    """
    reader, found = _Reader(data), dict[int, bytes]()
    while not reader.is_empty:
        code = reader.integer(1)
        found[code] = _property(reader, code)
    return found


def _property(reader: _Reader, code: int) -> bytes:
    if code in _SIZES:
        return reader.take(_SIZES[code])
    if code in _STRINGS:
        return _packed_binary(reader)
    if code == _PAIR:
        return _packed_binary(reader) + _packed_binary(reader)
    if code == _VARINT:
        return pack_varint(reader.varint())
    raise ProtocolError(f"property 0x{code:02x}")


def _packed_binary(reader: _Reader) -> bytes:
    data = reader.binary()
    return struct.pack(">H", len(data)) + data


def _skip_properties(reader: _Reader, level: int) -> None:
    if level == V5:
        parse_properties(reader.take(reader.varint()))
