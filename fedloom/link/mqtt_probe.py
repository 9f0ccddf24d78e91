"""An MQTT connection that asks a broker what it permits. Blocking, for the doctor alone: daemons use the link."""

import ssl
import time
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import NamedTuple, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from fedloom.errors import LinkError
from fedloom.link.base import MQTT_MAX_PACKET_BYTES
from fedloom.link.config import MqttConfig, read_password
from fedloom.link.mqtt_client import UNSUPPORTED_PROTOCOL, V5, make_client

TIMEOUT_S = 5.0
"""For each answer of the broker."""
_MAX_HEARD = 256
_REFUSED = "find out why in the broker's log: it lets in who has a certificate, or a password, and was not revoked"
_UNREACHABLE = "check address, TLS and network, and that the broker runs"


class Verdict(StrEnum):
    """What the broker did with a message."""

    TAKEN = "taken"
    DENIED = "denied"
    """It said so, or hung up."""
    UNKNOWN = "unknown"
    """It did not answer; or it has MQTT 3.1.1, which acknowledges what it throws away."""


class Permits(NamedTuple):
    """What the broker says that it takes, in its CONNACK. Source: MQTT 5, 3.2.2.3."""

    protocol: int
    max_packet_bytes: int
    receive_maximum: int
    maximum_qos: int
    retain: bool
    wildcards: bool


class Probe:
    """A connection without a session: nothing of it stays at the broker. A context manager that ends it."""

    def __init__(self, config: MqttConfig, client_id: str, tls: ssl.SSLContext | None) -> None:
        """Connect under this client id, which is the user name too unless one is configured.

        Raises:
            LinkError: the broker cannot be reached, or does not let us in.
            ConfigError: the password cannot be read.
        """
        self.heard: set[str] = set()
        """Topics of messages that came, the first so many."""
        self._config = config
        self._id = client_id
        self._password = read_password(config)
        self._tls = tls
        self.permits = Permits(0, 0, 0, 0, retain=False, wildcards=False)
        """What the broker says that it takes."""
        self._code: ReasonCode | None = None
        self._filters: list[str] = []
        self._acknowledged: dict[int, list[ReasonCode]] = {}
        try:
            self._open()
        except LinkError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def publish(self, topic: str, payload: bytes) -> Verdict:
        """Send at QoS 1, never retained, and wait for what the broker makes of it."""
        code = self._ask(lambda: self._client.publish(topic, payload, qos=1).mid)
        has_hung_up = code is None and self._client.socket() is None
        if has_hung_up or (code is not None and code.is_failure):
            return Verdict.DENIED
        return Verdict.UNKNOWN if code is None or self.permits.protocol != V5 else Verdict.TAKEN

    def subscribe(self, topic_filter: str) -> bool:
        """Whether the broker confirms it. Mosquitto confirms any, and looks at rights when it delivers."""
        code = self._ask(lambda: self._client.subscribe(topic_filter, qos=1)[1])
        if code is None or code.is_failure:
            return False
        self._filters.append(topic_filter)
        return True

    def listen(self, seconds: float) -> None:
        """Take in what comes."""
        self._until(lambda: False, seconds)

    def close(self) -> None:
        """Say goodbye; what is subscribed is gone."""
        self._client.disconnect()
        if (sock := self._client.socket()) is not None:
            sock.close()

    @property
    def _where(self) -> str:
        return f"{self._config.host}:{self._config.port}"

    def _open(self) -> None:
        if self._connect(V5) == UNSUPPORTED_PROTOCOL:
            self._connect(MQTTProtocolVersion.MQTTv311)
        if self.permits.protocol == 0:
            raise LinkError(f"{self._where}: {self._code or 'the broker hung up'}; {_REFUSED}")

    def _connect(self, protocol: MQTTProtocolVersion) -> int:
        """Returns the reason code of the CONNACK: 0 is success, -1 that none came."""
        client = make_client(self._id, protocol, TIMEOUT_S, keeps_session=False)
        client.username_pw_set(self._config.username or self._id, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_publish = lambda _c, _u, mid, code, _p: self._acknowledged.update({mid: [code]})
        client.on_subscribe = lambda _c, _u, mid, codes, _p: self._acknowledged.update({mid: codes})
        self._client = client
        try:
            clean_start = True if protocol == V5 else paho.MQTT_CLEAN_START_FIRST_ONLY
            client.connect(self._config.host, self._config.port, clean_start=clean_start)
        except (OSError, ValueError) as error:
            raise LinkError(f"{self._where}: {error}; {_UNREACHABLE}") from None
        self._code = None
        self._until(lambda: self._code is not None, TIMEOUT_S)
        return -1 if self._code is None else int(self._code.value)

    def _ask(self, send: Callable[[], int | None]) -> ReasonCode | None:
        """The broker's answer to a packet; None if it hung up or says nothing."""
        if self._client.socket() is None:
            self._connect(MQTTProtocolVersion(self.permits.protocol))  # a broker may hang up on what it denies
            for each in self._filters:
                self._client.subscribe(each, qos=1)
        mid = send()
        self._until(lambda: mid in self._acknowledged, TIMEOUT_S)
        codes = self._acknowledged.pop(mid, None) if mid is not None else None
        return codes[0] if codes else None

    def _until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < deadline_s:
            if self._client.loop(0.05) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return

    def _on_connect(
        self, client: paho.Client, userdata: object, flags: paho.ConnectFlags, code: ReasonCode, said: Properties | None
    ) -> None:
        self._code = code
        if code.is_failure:
            return

        def property_of(name: str, default: int) -> int:
            return int(getattr(said, name, default)) if said is not None else default

        self.permits = Permits(
            protocol=int(client.protocol),
            max_packet_bytes=property_of("MaximumPacketSize", MQTT_MAX_PACKET_BYTES),
            receive_maximum=property_of("ReceiveMaximum", 65_535),
            maximum_qos=property_of("MaximumQoS", 2),
            retain=bool(property_of("RetainAvailable", 1)),
            wildcards=bool(property_of("WildcardSubscriptionAvailable", 1)),
        )

    def _on_message(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        if len(self.heard) < _MAX_HEARD:
            self.heard.add(message.topic)
