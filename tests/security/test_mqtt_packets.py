"""The hostile broker's own reading of MQTT: strict, and the same bytes again."""

import pytest
from adversary import mqtt

PUBLISH_V5 = bytes.fromhex("32 12 00 03 61 2f 62 00 0a 07 26 00 01 78 00 01 79 68 69 21")
"""QoS 1, topic a/b, packet 10, user property x = y, payload "hi!"."""
CONNECT_V5 = bytes.fromhex(
    "10 1e 00 04 4d 51 54 54 05 04 00 3c 05 11 00 00 00 0a 00 01 63 05 18 00 00 00 1e 00 01 77 00 00"
)
"""Session expiry 10 s, client c, will on topic w after 30 s, empty."""


def only(data):
    buffer = bytearray(data)
    (packet,) = mqtt.split_packets(buffer)
    assert not buffer
    return packet


def test_a_publish_is_read_and_written():
    publish = mqtt.parse_publish(only(PUBLISH_V5), mqtt.V5)
    assert (publish.topic, publish.payload, publish.packet_id, publish.qos) == ("a/b", b"hi!", 10, 1)
    assert mqtt.pack_publish(publish, mqtt.V5) == PUBLISH_V5
    old = mqtt.pack_publish(publish._replace(properties=b""), 4)
    assert mqtt.parse_publish(only(old), 4) == publish._replace(properties=b"")


def test_packets_come_in_pieces():
    buffer = bytearray()
    found = []
    for byte in PUBLISH_V5 * 2 + mqtt.Packet(0x30, bytes(300)).pack():
        buffer.append(byte)
        found += mqtt.split_packets(buffer)
    assert [len(each.body) for each in found] == [18, 18, 300]


def test_a_connect_is_read():
    assert mqtt.parse_connect(only(CONNECT_V5)) == mqtt.Connect(5, "c", "w", b"")


@pytest.mark.parametrize(
    ("properties", "expected"),
    [("", "27 00 00 04 b0"), ("22 00 0a 27 00 00 ff ff 21 00 14", "22 00 0a 27 00 00 04 b0 21 00 14")],
)
def test_a_connack_gets_a_limit(properties, expected):
    properties, expected = bytes.fromhex(properties), bytes.fromhex(expected)
    packet = mqtt.Packet(0x20, b"\0\0" + bytes([len(properties)]) + properties)
    assert mqtt.limit_packets(packet, 1200).body == b"\0\0" + bytes([len(expected)]) + expected


@pytest.mark.parametrize(
    "damaged",
    [
        mqtt.Packet(0x32, PUBLISH_V5[2:6]),
        mqtt.Packet(0x34, PUBLISH_V5[2:]),
        mqtt.Packet(0x32, b"\0\0" + PUBLISH_V5[7:]),
        mqtt.Packet(0x32, PUBLISH_V5[2:10] + b"\x99" + PUBLISH_V5[11:]),
        mqtt.Packet(0x32, b"\0\1\xff\0\1\0"),
    ],
    ids=["torn", "QoS 2", "no topic", "unknown property", "not UTF-8"],
)
def test_what_is_not_ours_is_refused(damaged):
    with pytest.raises(mqtt.ProtocolError):
        mqtt.parse_publish(damaged, mqtt.V5)


def test_a_length_has_four_bytes_at_most():
    assert [mqtt.pack_varint(each).hex() for each in (0, 127, 128, 268_435_455)] == ["00", "7f", "8001", "ffffff7f"]
    with pytest.raises(mqtt.ProtocolError):
        mqtt.split_packets(bytearray(b"\x30\xff\xff\xff\xff\x01"))
