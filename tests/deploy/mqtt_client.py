"""An MQTT 5 client whose calls wait for the broker's answer."""

import queue
import ssl
import time
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

NOT_AUTHORISED = 0x87
TIMEOUT_S = 10
DELIVERED = (0, 0x10)
"""Reason codes of a PUBACK: taken, or taken and nobody has subscribed."""


class RefusedError(Exception):
    """The broker, or its TLS, did not let us in."""


class Client:
    """A connected client."""

    def __init__(self, port: int, context: ssl.SSLContext, client_id: str, username: str = "") -> None:
        self.messages: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.disconnected: queue.Queue[int] = queue.Queue()
        self._answers: queue.Queue[Any] = queue.Queue()
        self.paho = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5, reconnect_on_failure=False
        )
        self.paho.tls_set_context(context)
        if username:
            self.paho.username_pw_set(username)
        self.paho.on_connect = lambda _c, _u, _f, reason, properties: self._answers.put((reason, properties))
        self.paho.on_subscribe = lambda _c, _u, _m, reasons, _p: self._answers.put(reasons)
        self.paho.on_publish = lambda _c, _u, _m, reason, _p: self._answers.put(reason)
        self.paho.on_message = lambda _c, _u, message: self.messages.put((message.topic, message.payload))
        self.paho.on_disconnect = lambda _c, _u, _f, reason, _p: self.disconnected.put(reason.value)
        try:
            self.paho.connect("localhost", port, properties=_no_session())
        except (ssl.SSLError, ConnectionError) as error:
            raise RefusedError(str(error)) from None
        self.paho.loop_start()
        reason, self.connack = self._answer_or_refusal()
        if reason.is_failure:
            self.close()
            raise RefusedError(str(reason))

    def publish(self, topic: str, payload: bytes = b"x", retain: bool = False) -> int:
        """The reason code of the PUBACK."""
        self.paho.publish(topic, payload, qos=1, retain=retain)
        return int(self._answers.get(timeout=TIMEOUT_S).value)

    def subscribe(self, topic: str) -> int:
        """The reason code of the SUBACK."""
        self.paho.subscribe(topic, qos=1)
        return int(self._answers.get(timeout=TIMEOUT_S)[0].value)

    def next_message(self) -> tuple[str, bytes]:
        return self.messages.get(timeout=TIMEOUT_S)

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()

    def _answer_or_refusal(self) -> Any:
        """With TLS 1.3 a refused certificate shows only with the first read after the handshake."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                return self._answers.get(timeout=0.05)
            except queue.Empty:
                if not self.disconnected.empty():
                    break
        self.close()
        raise RefusedError("no answer to CONNECT")


def _no_session() -> Properties:
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 0
    return properties
