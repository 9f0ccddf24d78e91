"""A paho client as a connection needs it: its session, acknowledgements, last will, our own bounds."""

import logging
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from fedloom.link.base import MakeWill
from fedloom.link.config import MqttConfig
from fedloom.link.reconnecting import MAX_INBOUND_PACKET_BYTES

V5 = MQTTProtocolVersion.MQTTv5
UNSUPPORTED_PROTOCOL = 0x84
"""Reason code of a CONNACK. Source: MQTT 5, 3.2.2.2."""


def make_client(
    client_id: str,
    protocol: MQTTProtocolVersion,
    timeout_s: float,
    make_will: MakeWill | None = None,
    *,
    keeps_session: bool = True,
) -> paho.Client:
    """One for a single connection, with its last will; `timeout_s` bounds TCP connection and TLS handshake, each.

    Where the broker keeps its session, messages are acknowledged by hand.
    """
    # For MQTT 5, paho refuses the argument: clean start is said at connect.
    session: dict[str, Any] = {} if protocol == V5 else {"clean_session": not keeps_session}
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id,
        protocol=protocol,
        manual_ack=keeps_session,
        reconnect_on_failure=False,
        **session,
    )
    client.max_inflight_messages_set(0)  # no limit in paho: the window is kept by our queue
    client.connect_timeout = timeout_s
    if make_will:
        will = make_will()
        properties = None
        if protocol == V5:
            properties = _properties(PacketTypes.WILLMESSAGE)
            properties.WillDelayInterval = will.delay_s
        client.will_set(will.topic, will.payload, qos=1, retain=will.retain, properties=properties)
    return client


def _properties(packet_type: int) -> Properties:
    return Properties(packet_type)  # type: ignore[no-untyped-call]  # paho's own omission


def connect_properties(config: MqttConfig) -> Properties:
    """What CONNECT says of us (MQTT 5)."""
    properties = _properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = config.session_expiry_s
    properties.ReceiveMaximum = config.max_unacknowledged
    properties.MaximumPacketSize = MAX_INBOUND_PACKET_BYTES
    return properties


class LastError(logging.Logger):
    """paho says why a socket failed only in its log."""

    text = ""

    def handle(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()
