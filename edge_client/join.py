"""`fedloom-edge join`: carries out on disk and on the link what `edge_client.joining` decides."""

import logging
import os
import queue
import socket
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

import msgspec

from edge_client import events, join_errors, join_events, joining
from edge_client.join_directory import JoinDirectory
from fedloom import __version__
from fedloom.errors import ConfigError, StoreError
from fedloom.failpoints import failpoint
from fedloom.link import base
from fedloom.link.backoff import draw
from fedloom.link.config import MqttConfig, Tls, tls_context
from fedloom.names import NAME_REMEDY, is_name
from fedloom.trust.documents import Credential
from fedloom.trust.tokens import MAX_CHARACTERS, PREFIX, TlsMode, Token, read_token
from fedloom.wire.messages import Capabilities

MakeTls = Callable[[], ssl.SSLContext]
MakeLink = Callable[[MqttConfig, str, base.OnEvent, MakeTls | None], base.Link]

log = logging.getLogger("fedloom.edge")


class Outcome(msgspec.Struct, frozen=True):
    """How a join ended, for people and programs."""

    device: str
    name: str
    federation: str
    valid_until: int
    """Seconds since 1970 (UTC), by the registrar's clock; the credential is renewed before."""
    config: str
    is_new: bool
    """False: it had joined before."""


def unverified_tls() -> ssl.SSLContext:
    """TLS to a broker of which nothing is known yet: anybody may be at the other end.

    Only for the connection that fetches the root document, which is known by its hash: nothing secret goes over it.
    """
    context = tls_context(Tls())
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def mqtt_link(config: MqttConfig, client_id: str, on_event: base.OnEvent, make_tls: MakeTls | None) -> base.Link:
    """The link of a real device."""
    from fedloom.link.mqtt import MqttLink

    return MqttLink(config, client_id, on_event, make_tls=make_tls)


class Joiner:
    """Runs one join, which holds its directory meanwhile."""

    def __init__(
        self,
        token: Token,
        directory: JoinDirectory,
        say: Callable[[str], None],
        make_link: MakeLink = mqtt_link,
    ) -> None:
        """`say` tells a person how it goes."""
        self._token = token
        self._directory = directory
        self._say = say
        self._make_link = make_link
        self._link: base.Link | None = None
        self._queue: queue.SimpleQueue[base.Event] = queue.SimpleQueue()
        self._made: join_events.Made | None = None
        self._credential: Credential | None = None

    def join(self, name: str, data: str, timeout_s: float) -> Outcome:
        """Join, or find that it has been done.

        Raises:
            TrustError, LinkError, StoreError: this cannot work; the error says why.
            NotJoinedError: not yet; what is on disk is kept for the next time.
        """
        self._directory.hold()
        try:
            found = self._directory.read(self._token)
            if isinstance(found, Credential):
                return self._outcome(found, is_new=False)
            wish = join_events.Wish(self._token, name, capabilities(), data)
            give_up_at_s = time.monotonic() + timeout_s
            core = joining.Joining(wish, found, give_up_at_s, os.urandom, draw)
            self._connect(is_root_known=found is not None)
            return self._outcome(self._run(core), is_new=True)
        except OSError as error:
            problem = f"{error.filename or self._directory.base}: cannot be written ({error.strerror})"
            raise StoreError(f"{problem}; free or repair the disk, then {join_errors.AGAIN}") from None
        finally:
            self._disconnect()
            self._directory.release()

    def _run(self, core: joining.Joining) -> Credential:
        self._carry_out_all(core.begin())
        self._start()
        while self._credential is None:
            try:
                event = self._queue.get(timeout=max(0.0, core.wake_at_s - time.monotonic()))
            except queue.Empty:
                self._carry_out_all(core.handle(events.Tick(), time.monotonic()))
                continue
            self._carry_out_all(core.handle(event, time.monotonic()))
            if isinstance(event, base.Received) and self._link is not None:
                self._link.acknowledge(event)
            while self._made is not None:
                made, self._made = self._made, None
                self._carry_out_all(core.handle(made, time.monotonic()))
        return self._credential

    def _carry_out_all(self, actions: list[join_events.JoinAction]) -> None:
        for action in actions:
            self.carry_out(action)

    def carry_out(self, action: join_events.JoinAction) -> None:
        """Do one thing; it is done when the call returns.

        Raises:
            FedloomError: the action says that it is over.
            OSError: the disk does not take it.
        """
        match action:
            case join_events.Say(text):
                self._say(text)
            case join_events.Joined(credential):
                self._credential = credential
            case join_events.Failed(error):
                raise error
            case events.Log(level, text, args):
                log.log(level, text, *args)
            case join_events.MakeKeys() | join_events.WriteConfig() | join_events.Discard() | events.WriteDocument():
                self._write(action)
            case join_events.Secure() | events.Subscribe() | events.Publish():
                self._send(action)
            case _:
                assert_never(action)

    def _write(self, action: join_events.Write) -> None:
        match action:
            case join_events.MakeKeys(root, document):
                self._made = join_events.Made(self._directory.make_keys(root, document, self._token))
                failpoint("device.keys-written")
            case join_events.WriteConfig(text):
                self._directory.write_config(text)
            case join_events.Discard():
                self._directory.discard()
            case events.WriteDocument(name, data):
                self._directory.write(name, data)
            case _:
                assert_never(action)

    def _send(self, action: join_events.Send) -> None:
        assert self._link is not None  # noqa: S101 - for the type checker: there is one while anything is carried out
        match action:
            case join_events.Secure():
                self._disconnect()
                self._connect(is_root_known=True)
                self._start()
            case events.Subscribe(topic_filter):
                self._link.subscribe(topic_filter)
            case events.Publish(topic, payload):
                self._link.publish(topic, payload)
                failpoint("device.enrolment-sent")
            case _:
                assert_never(action)

    def _connect(self, *, is_root_known: bool) -> None:
        """A new link, and none of the events of the one before."""
        self._queue = queue.SimpleQueue()
        broker, tls, make_tls = self._token.broker, None, None
        if broker.tls is TlsMode.SYSTEM:
            tls = Tls()
        elif broker.tls is TlsMode.FEDERATION and is_root_known:
            tls = Tls(ca=str(self._directory.keys / "ca.crt"), check_dates=False)
        elif broker.tls is TlsMode.FEDERATION:
            make_tls = unverified_tls
        config = MqttConfig(host=broker.host, port=broker.port, tls=tls, session_expiry_s=0)
        self._link = self._make_link(config, self._token.id.hex(), self._queue.put, make_tls)

    def _start(self) -> None:
        assert self._link is not None  # noqa: S101 - for the type checker
        self._link.start()

    def _disconnect(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _outcome(self, credential: Credential, *, is_new: bool) -> Outcome:
        return Outcome(
            device=credential.device.hex(),
            name=credential.name,
            federation=credential.federation.hex(),
            valid_until=credential.not_after,
            config=str(self._directory.config),
            is_new=is_new,
        )


def capabilities() -> Capabilities:
    """What this machine is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Capabilities(f"fedloom {__version__}", os.uname().machine[:64], os.cpu_count() or 0, memory // 2**20)


def wanted_name(name: str | None) -> str:
    """The name to ask for: the given one, else the host's where it can be one.

    Raises:
        ConfigError: the given one cannot be a name.
    """
    if name is None:
        host = socket.gethostname().partition(".")[0]
        return host if is_name(host) else ""
    if not is_name(name):
        raise ConfigError("join", "--name", f"{name!r} is not a name", NAME_REMEDY)
    return name


def find_token(argument: str) -> Token:
    """The token in an argument: its text, `-` for standard input, or a file that holds it.

    Raises:
        InputError: there is none; the error does not repeat what was given.
    """
    if argument.strip().startswith(PREFIX):
        return read_token(argument)
    limit = 4 * MAX_CHARACTERS
    if argument == "-":
        return read_token(sys.stdin.buffer.read(limit).decode("ascii", "replace"))
    try:
        with Path(argument).open(encoding="ascii", errors="replace") as file:
            return read_token(file.read(limit))
    except (OSError, ValueError):  # ValueError: a NUL in the name
        problem = f"is neither a token, which begins with {PREFIX}, nor a file that can be read"
        raise ConfigError(
            "join", "TOKEN", problem, "copy the whole token again, or name the file that holds it"
        ) from None
