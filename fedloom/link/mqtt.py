"""A link over MQTT: 5 where the broker has it, else 3.1.1.

Each connection gets a fresh paho client, driven by our own selector on the network thread, so that nothing of the last
one (queue, packet ids, keepalive, will) leaks into the next. A message that is sent again therefore carries a new
packet id: at QoS 1 a broker cannot tell, and our receivers expect duplicates. Only this file and its neighbours
mqtt_client and mqtt_probe know paho.
"""

import logging
import selectors
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from fedloom.link.base import (
    MQTT_MAX_PACKET_BYTES,
    Denied,
    Limits,
    MakeWill,
    OnEvent,
    Received,
    Sent,
    Subscribed,
    Token,
    matches,
)
from fedloom.link.config import MqttConfig, read_password, tls_context
from fedloom.link.mqtt_client import UNSUPPORTED_PROTOCOL, V5, LastError, connect_properties, make_client
from fedloom.link.outgoing import Outgoing
from fedloom.link.reconnecting import CLOSE_TIMEOUT_S, End, ReconnectingLink, default_retry_s

__all__ = ["MqttConfig", "MqttLink"]

CONNECT_TIMEOUT_S = 5.0
"""For each of: TCP connection, TLS handshake, CONNECT to CONNACK."""
MAX_IN_FLIGHT = 64
"""Unacknowledged publishes, where the broker would allow more."""
MAX_UNSENT_BYTES = 128 * 1024
"""What the kernel takes from us ahead of the wire: all else can still be withdrawn."""

_SESSION_TAKEN_OVER = 0x8E
_HOPELESS = frozenset({UNSUPPORTED_PROTOCOL, 0x85, 0x86, 0x87, 0x8A, 0x8C})
"""Also client id, user name or password, authorisation, banned, authentication method. Source: MQTT 5, 3.2.2.2."""

log = logging.getLogger(__name__)


class MqttLink(ReconnectingLink):
    """See `fedloom.link.base.Link` for the contract."""

    def __init__(
        self,
        config: MqttConfig,
        client_id: str,
        on_event: OnEvent,
        *,
        will: MakeWill | None = None,
        retry_s: Callable[[int], float] = default_retry_s,
        make_tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        """`make_tls` replaces the context that `config.tls` asks for; it is called for each connection.

        Raises ConfigError when the password or a TLS file cannot be used.
        """
        password = read_password(config)
        if make_tls is None and config.tls is not None:
            make_tls = partial(tls_context, config.tls)
        if make_tls is not None:
            make_tls()  # what cannot be used is an error now

        def connect(link: ReconnectingLink, protocol: int, serial: int) -> _Connection:
            client = make_client(client_id, MQTTProtocolVersion(protocol), CONNECT_TIMEOUT_S, will)
            client.username_pw_set(config.username or client_id, password)
            if make_tls is not None:
                client.tls_set_context(make_tls())  # anew: our certificate may have been renewed
            return _Connection(link, config, client, serial)

        protocols = {"auto": (5, 4), "5": (5,), "3.1.1": (4,)}[config.protocol]
        super().__init__(connect, protocols, config.max_queued_bytes, on_event, retry_s)


class _Connection:
    """One paho client and its socket; everything but `live` belongs to the network thread."""

    def __init__(self, link: ReconnectingLink, config: MqttConfig, client: paho.Client, serial: int) -> None:
        self.live = False
        self._link = link
        self._config = config
        self._client = client
        self._serial = serial
        self._limits = Limits()
        self._refusal: ReasonCode | None = None
        self._reason = ""
        self._is_taken_over = False
        self._subscribing: dict[int, list[str]] = {}
        self._selector = selectors.DefaultSelector()
        self._errors = LastError(__name__, logging.ERROR)
        client.enable_logger(self._errors)
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish

    def run(self) -> End:
        try:
            return self._run()
        finally:
            self.live = False
            self._client.on_socket_close = None
            if (sock := self._client.socket()) is not None:
                sock.close()
            self._selector.close()

    def subscribe(self, filters: list[str]) -> None:
        if self._client.protocol == V5:
            _, packet_id = self._client.subscribe([(each, SubscribeOptions(qos=1)) for each in filters])
        else:
            _, packet_id = self._client.subscribe([(each, 1) for each in filters])
        if packet_id is not None:
            self._subscribing[packet_id] = filters

    def unsubscribe(self, filters: list[str]) -> None:
        self._client.unsubscribe(filters)
        for each in filters:
            self._link.forgotten.pop(each, None)
            self._link.confirmed.discard(each)

    def acknowledge(self, token: Token) -> None:
        if token.connection == self._serial and token.packet_id:
            self._client.ack(token.packet_id, 1)

    def _run(self) -> End:
        config, v5 = self._config, self._client.protocol == V5
        try:
            self._client.connect(
                config.host,
                config.port,
                config.keepalive_s,
                clean_start=False if v5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
                properties=connect_properties(config) if v5 else None,
            )
        except ssl.SSLError as error:
            cut = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
            return End(f"TLS with {config.host}:{config.port}: {error}", hopeless=not cut)
        except OSError as error:
            return End(f"{config.host}:{config.port}: {error}")
        except ValueError as error:  # UnicodeError, too: what is no host name at all
            return End(f"{config.host!r} is not a host name ({error})", hopeless=True)
        try:
            self._serve()
        except Exception as error:  # whatever a broker's bytes make paho raise ends this connection, not the link
            log.warning("link.failed", exc_info=True)
            self._reason = f"{type(error).__name__}: {error}"
        return self._explain()

    def _serve(self) -> None:
        """Until the socket is gone."""
        client, closing = self._client, self._link.closing
        answer_by_s, leave_by_s = time.monotonic() + CONNECT_TIMEOUT_S, float("inf")
        self._selector.register(self._link.wake_reader, selectors.EVENT_READ)
        while client.socket() is not None:
            now_s = time.monotonic()
            if not self.live and (now_s > answer_by_s or closing.is_set()):
                self._reason = f"no answer to CONNECT within {CONNECT_TIMEOUT_S:g} s"
                return
            if self.live:
                self._send()
            if closing.is_set():
                leave_by_s = min(leave_by_s, now_s + CLOSE_TIMEOUT_S)
                if not len(self._link.queue):
                    client.disconnect()
                elif now_s > leave_by_s:
                    return  # no DISCONNECT: a goodbye may be among what was not sent, so the will has to speak
                if now_s > leave_by_s + CLOSE_TIMEOUT_S:
                    return
            if client.socket() is not None:
                self._wait()

    def _send(self) -> None:
        for command in self._link.commands():
            command(self)
        window = min(self._limits.receive_maximum, MAX_IN_FLIGHT)
        while self._client.socket() is not None and not self._client.want_write():  # what paho holds is past recall
            with self._link.lock:
                message = self._link.queue.take(window)
            if message is None:
                return
            if len(message.payload) > self._limits.max_payload_bytes(message.topic):
                # Queued before the limit was known. The broker would hang up on it, and we would send it again.
                self._link.emit(Denied(message.topic, f"{len(message.payload)} bytes are more than the broker takes"))
                with self._link.lock:
                    self._link.queue.drop(message)
                self._tell(message)
                continue
            sent = self._client.publish(message.topic, message.payload, qos=1, retain=message.retain)
            with self._link.lock:
                self._link.queue.sent(sent.mid, message)

    def _wait(self) -> None:
        """Until something comes, there is room to write, another thread wakes us, or paho's keepalive wants a look."""
        sock: Any = self._client.socket()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._client.want_write() else 0)
        self._selector.modify(sock, events)
        for key, mask in self._selector.select(min(1.0, self._config.keepalive_s / 4)):
            if key.fileobj is self._link.wake_reader:
                self._link.wake_reader.recv(4096)
                continue
            if mask & selectors.EVENT_READ:
                self._client.loop_read()
                while self._client.socket() is not None and isinstance(sock, ssl.SSLSocket) and sock.pending():
                    self._client.loop_read()  # already decrypted: the selector cannot see it
            if mask & selectors.EVENT_WRITE and self._client.socket() is not None:
                self._client.loop_write()
        self._client.loop_misc()

    def _explain(self) -> End:
        if self.live:
            reason = self._reason or self._errors.text or "the broker closed the connection"
            return End(reason, connected=True, taken_over=self._is_taken_over)
        if self._refusal is not None:
            code = self._refusal.value
            reason = f"the broker refuses us: {self._refusal} (0x{code:02x})"
            return End(reason, unanswered=code == UNSUPPORTED_PROTOCOL, hopeless=code in _HOPELESS)
        alert = "_ALERT_" in self._errors.text  # TLS 1.3: a refused client certificate shows in the first read
        reason = self._errors.text or self._reason or "the broker hung up on CONNECT"
        return End(reason, unanswered=not alert, hopeless=alert)

    def _on_socket_open(self, client: paho.Client, userdata: object, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)
        self._selector.register(sock, selectors.EVENT_READ)

    def _on_socket_close(self, client: paho.Client, userdata: object, sock: Any) -> None:
        self._selector.unregister(sock)

    def _on_connect(
        self,
        client: paho.Client,
        userdata: object,
        flags: paho.ConnectFlags,
        code: ReasonCode,
        answer: Properties | None,
    ) -> None:
        if code.is_failure:
            self._refusal = code
            return
        defaults = Limits()
        self._limits = Limits(
            max_packet_bytes=getattr(answer, "MaximumPacketSize", MQTT_MAX_PACKET_BYTES),
            receive_maximum=getattr(answer, "ReceiveMaximum", defaults.receive_maximum),
            protocol=int(client.protocol),
        )
        self.live = True  # before the filters are read: see ReconnectingLink._command
        if forgotten := list(self._link.forgotten):
            self.unsubscribe(forgotten)
        if not flags.session_present:
            self._link.confirmed.clear()
        known = self._link.confirmed
        if filters := [each for each, renew in list(self._link.filters.items()) if renew or each not in known]:
            self.subscribe(filters)
        self._link.connected(self._limits)

    def _on_disconnect(
        self, client: paho.Client, userdata: object, flags: paho.DisconnectFlags, code: ReasonCode, _: Properties | None
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._reason = f"the broker says: {code}"
            self._is_taken_over = code.value == _SESSION_TAKEN_OVER

    def _on_subscribe(
        self, client: paho.Client, userdata: object, packet_id: int, codes: list[ReasonCode], _: Properties | None
    ) -> None:
        for topic_filter, code in zip(self._subscribing.pop(packet_id, []), codes, strict=False):
            if code.is_failure:
                self._link.emit(Denied(topic_filter, str(code)))
                continue
            self._link.confirmed.add(topic_filter)
            self._link.emit(Subscribed(topic_filter))

    def _on_message(self, client: paho.Client, userdata: object, message: paho.MQTTMessage) -> None:
        if message.qos == 0 and not any(matches(each, message.topic) for each in list(self._link.filters)):
            return  # nobody of us sends at QoS 0: amqtt hands every retained message to whoever reconnects
        token = Token(self._serial, message.mid if message.qos else 0)
        self._link.received(Received(message.topic, bytes(message.payload), message.retain, token))

    def _on_publish(
        self, client: paho.Client, userdata: object, packet_id: int, code: ReasonCode, _: Properties | None
    ) -> None:
        with self._link.lock:
            message = self._link.queue.acknowledged(packet_id)
        if message is not None:
            if code.is_failure:
                self._link.emit(Denied(message.topic, str(code)))
            self._tell(message)

    def _tell(self, message: Outgoing) -> None:
        if message.tell:
            self._link.emit(Sent(message.topic))
