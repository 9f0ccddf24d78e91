"""Devices that join, with real keys and messages but no link; and a registrar's desk, moved step by step."""

import os
from collections.abc import Mapping
from hashlib import sha256

import pytest

from aggregator.enrolment import tokens
from aggregator.notices import AnyNotice
from aggregator.store import open_store
from fedloom import msgpack
from fedloom.trust.certificates import check_certificate, new_request
from fedloom.trust.device_keys import DeviceSecrets
from fedloom.trust.documents import Credential, Root, open_credential
from fedloom.trust.seal import Recipient
from fedloom.trust.signing import key_id
from fedloom.trust.tokens import Broker, TlsMode, Token
from fedloom.wire import envelope
from fedloom.wire.envelope import Header, Type, write_clear, write_sealed
from fedloom.wire.messages import Capabilities, Enrol, Membership, Presence
from fedloom.wire.topics import Topics


class Joiner:
    """One device with one token."""

    def __init__(self, token: Token, root: Root, secrets: DeviceSecrets | None = None, name: str = "gate") -> None:
        self.token = token
        self.root = root
        self.topics = Topics(root.federation)
        self.secrets = secrets or DeviceSecrets.generate(root.suite)
        self.name = name
        self.request = self.ask()
        self.answers: list[Membership] = []
        self.envelopes: list[bytes] = []
        self.credential: Credential | None = None
        self._sequence = 0

    def enrol(self, **changes: object) -> Enrol:
        fields = {
            "secret": self.token.secret,
            "signing": self.secrets.signing.public,
            "seal": self.secrets.seal.public,
            "request": new_request(self.secrets.tls),
            "name": self.name,
            "capabilities": Capabilities("fedloom test", "x86_64", 2, 512),
        } | changes
        return Enrol(**fields)  # type: ignore[arg-type]

    def ask(self, enrol: Enrol | None = None, **header: object) -> bytes:
        """The request; each call seals anew, so no two are alike."""
        made = Header(Type.ENROL, self.root.federation, self.token.id, os.urandom(16))._replace(
            **({"recipient": self.root.registrar.id} | header)  # type: ignore[arg-type]
        )
        recipient = Recipient(self.root.suite, self.root.registrar.seal)
        return write_sealed(made, msgpack.encode(enrol or self.enrol()), self.secrets.signing, recipient)

    @property
    def up(self) -> str:
        return self.topics.enrol_up(self.token.id)

    @property
    def down(self) -> str:
        return self.topics.enrol_down(self.token.id)

    def hear(self, topic: str, payload: bytes) -> None:
        """Take an answer or a renewal, with all checks that a device makes."""
        is_renewal = self.credential is not None and topic == self.topics.down(self.credential.device)
        if topic != self.down and not is_renewal:
            return
        message = envelope.parse(payload, 2**16)
        header = message.header
        if header.type is not Type.MEMBERSHIP or header.recipient_key != self.secrets.seal.id:
            return  # for another device with the same token
        assert header.sender == self.root.registrar.id
        assert header.sender_key == key_id(self.root.registrar.signing)
        assert header.recipient == (self.credential.device if is_renewal and self.credential else self.token.id)
        answer = msgpack.decode(message.open(self.secrets.seal), Membership)
        if answer.answers != (bytes(32) if is_renewal else sha256(self.request).digest()):
            return
        self.answers.append(answer)
        self.envelopes.append(payload)
        if answer.credential:
            self.credential = open_credential(answer.credential, self.root)
            mine = (self.secrets.signing.public, self.secrets.seal.public)
            assert (self.credential.signing, self.credential.seal) == mine
            ca, name = self.root.registrar.ca, self.credential.device.hex()
            check_certificate(answer.certificate, ca, self.secrets.tls, name)

    @property
    def id(self) -> bytes:
        assert self.credential is not None
        return self.credential.device

    def presence(self, not_after: int | None = None, state: str = "ready") -> bytes:
        assert self.credential is not None
        self._sequence += 1
        header = Header(Type.PRESENCE, self.root.federation, self.id, bytes(16), sequence=self._sequence)
        held = self.credential.not_after if not_after is None else not_after
        body = msgpack.encode(Presence(state, "test", held))  # type: ignore[arg-type]
        return write_clear(header, body, self.secrets.signing)


class Desk:
    """A running aggregator (the rig's), tokens made by another process, and devices that come with them."""

    def __init__(self, rig):
        self.rig = rig
        self.joiners: list[Joiner] = []

    @property
    def root(self) -> Root:
        return self.rig.devices[0].keys.root

    def tokens(
        self,
        names: list[str],
        expires_in_s: float = 3600.0,
        labels: Mapping[str, str] = {},
        approve: bool = False,
        is_noticed: bool = True,
    ) -> list[Token]:
        expires_at = int(self.rig.utc_s + expires_in_s)
        with open_store(self.rig.state) as store:
            made = tokens.make(store, names, expires_at, labels, needs_approval=approve)
        if is_noticed:
            self.notice()
        root_hash = sha256((self.rig.state / "keys" / "root-1").read_bytes()).digest()
        broker = Broker("localhost", 1883, TlsMode.NONE)
        return [Token(self.root.federation, each.id, each.secret, root_hash, expires_at, broker) for each in made]

    def notice(self) -> None:
        """The aggregator looks whether another process has written."""
        event = self.rig.parts.archive.changed_fleet()
        if event is not None:
            self.rig.handle(event)

    def joiner(self, token: Token | None = None, name: str = "gate", **token_options) -> Joiner:
        joiner = Joiner(token or self.tokens([""], **token_options)[0], self.root, name=name)
        self.joiners.append(joiner)
        return joiner

    def send(self, joiner: Joiner, blob: bytes | None = None, topic: str | None = None) -> None:
        """One message to the registrar, all that follows from it, and the answers."""
        joiner.request = joiner.request if blob is None else blob
        self.rig.receive(topic or joiner.up, joiner.request)
        self.settle()

    def say_ready(self, joiner: Joiner, not_after: int | None = None) -> None:
        self.rig.receive(joiner.topics.state(joiner.id), joiner.presence(not_after))
        self.settle()

    def settle(self) -> None:
        self.rig.work()
        sent, self.rig.sent = self.rig.sent, []
        for message in sent:
            for joiner in self.joiners:
                joiner.hear(message.topic, message.payload)

    def joined(self, **options) -> Joiner:
        """A device that is in."""
        joiner = self.joiner(**options)
        self.send(joiner)
        assert joiner.credential is not None
        return joiner

    def told(self, kind: type[AnyNotice]) -> list:
        return self.rig.told(kind)

    def devices(self) -> list:
        return self.rig.parts.archive.store.devices()

    def states(self) -> list[str]:
        with open_store(self.rig.state) as store:
            return [each.state for each in tokens.entries(store, self.rig.utc_s)]


@pytest.fixture(params=["x25519", "hybrid"])
def any_desk(request, make_rig):
    """A booted aggregator, once with each suite."""
    rig = make_rig(devices=1, suite=request.param)
    rig.boot()
    return Desk(rig)


@pytest.fixture
def desk(make_rig):
    rig = make_rig(devices=1)
    rig.boot()
    return Desk(rig)


@pytest.fixture
def new_joiner():
    """The class, for tests that bring their own federation."""
    return Joiner
