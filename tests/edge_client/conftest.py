"""A small federation: one device, an aggregator that signs whatever a test wants it to say, and a registrar."""

import os
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edge_client.events import Action, Came, Connected, PersistState, Started, Train, Work
from edge_client.rounds import Bounds
from edge_client.session import Session
from edge_client.state import DeviceState, OutboxEntry
from fedloom import msgpack
from fedloom.errors import Reason
from fedloom.job.data import Data
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.learning.standardise import Standardiser
from fedloom.trust.certificates import Authority, new_authority, new_key, public_key_in, public_key_of
from fedloom.trust.device_keys import DeviceKeys, DeviceSecrets, document_files, load_device_keys, write_device_keys
from fedloom.trust.documents import AggregatorKey, Credential, Registrar, Root, sign_credential, sign_root
from fedloom.trust.seal import Recipient, SealKey, SealSuite
from fedloom.trust.signing import SigningKey, VerifyingKey
from fedloom.trust.tokens import Broker, TlsMode, Token, secret_hash
from fedloom.wire.brief import seal_brief
from fedloom.wire.chunks import Transfer, pack_missing
from fedloom.wire.envelope import Envelope, Header, Type, parse, write_clear, write_sealed
from fedloom.wire.messages import (
    Admission,
    Brief,
    Enrol,
    Manifest,
    Membership,
    Missing,
    Phase,
    Receipt,
    Task,
    Update,
    Verdict,
)
from fedloom.wire.model_blob import SealedModel, plain_model, seal_model
from fedloom.wire.topics import Topics

SUITE = SealSuite.X25519
MAX = 2**20
SPEC = ModelSpec(inputs=2, outputs=2)
BRIEF = Brief(
    job_name="toy",
    spec=SPEC,
    data=Data(features=("ax", "ay"), target="move", classes=("a", "b"), groups=("recording",)),
    plan=TrainPlan(loss="cross_entropy", learning_rate=0.1, batch_size=8),
    encoding="float32",
    seed=7,
)


class FakeAggregator:
    """Has all the keys of a federation; remembers the chain of its manifests and nothing else."""

    def __init__(self) -> None:
        self.root_key, self.registrar, self.signing = (SigningKey.generate() for _ in range(3))
        self.id, self.federation, self.job = b"A" * 16, os.urandom(16), b"J" * 16
        self.device, self.device_signing, self.device_seal = (
            os.urandom(16),
            SigningKey.generate(),
            SealKey.generate(SUITE),
        )
        self.registrar_seal = SealKey.generate(SUITE)
        self.round_key = SealKey.generate(SUITE)
        self.model_key, self.brief_key = b"k" * 32, b"b" * 32
        self.topics = Topics(self.federation)
        self.head, self.version, self.messages = bytes(32), 0, 0
        self.tls_key, self.ca_key = new_key(), new_key()
        self.ca = new_authority(self.ca_key, "test", 1.9e9)
        self.broker = Broker("127.0.0.1", 1883, TlsMode.NONE)
        self.roots: list[tuple[Root, bytes]] = []
        self.rotate(version=1)

    @property
    def root(self) -> Root:
        return self.roots[-1][0]

    def rotate(self, **changes: Any) -> bytes:
        """The next root document; it lists the aggregator's key, which is new, unless `changes` break it."""
        if self.roots:
            self.signing = SigningKey.generate()
        registrar = Registrar(b"R" * 16, self.registrar.public, self.registrar_seal.public, self.ca)
        body = Root(
            version=len(self.roots) + 1,
            federation=self.federation,
            suite=SUITE,
            root_keys=(self.root_key.public,),
            threshold=1,
            registrar=registrar,
            aggregators=(AggregatorKey(self.id, self.signing.public),),
        )
        body = msgspec.structs.replace(body, **changes)
        self.roots.append((body, sign_root(body, self.root_key)))
        return self.roots[-1][1]

    def credential(self, not_after: int = 2**40, **changes: Any) -> bytes:
        """A credential for the device."""
        own = self.device_signing.public, self.device_seal.public
        body = Credential(self.federation, self.device, "kitchen", *own, 0, not_after)
        return sign_credential(msgspec.structs.replace(body, **changes), self.registrar)

    def certificate(self, name: bytes = b"", tls_key: bytes = b"") -> bytes:
        """A certificate for the device."""
        public = public_key_of(tls_key or self.tls_key)
        return Authority(self.ca_key, self.ca).issue(public, (name or self.device).hex(), 0, 2**40)

    def renewal(self, not_after: int = 2**40 + 1, signer: SigningKey | None = None, **changes: Any) -> bytes:
        """A renewal for the device, unless `changes` break it."""
        named = {name: changes.pop(name) for name in Membership.__struct_fields__ if name in changes}
        header = {name: changes.pop(name) for name in Header._fields if name in changes}
        credential = self.credential(not_after, **changes)
        body = Membership(bytes(32), Admission.ACCEPTED, "", credential, self.certificate(), self.broker)
        body = msgspec.structs.replace(body, **named)
        head = Header(Type.MEMBERSHIP, self.federation, b"R" * 16, os.urandom(16), recipient=self.device)
        to = Recipient(SUITE, self.device_seal.public)
        return write_sealed(head._replace(**header), msgpack.encode(body), signer or self.registrar, to)

    def write_keys(self, directory: Path) -> None:
        secrets = DeviceSecrets(self.device_signing, self.device_seal, self.tls_key)
        write_device_keys(directory, secrets, document_files(*self.roots[-1], self.credential(), self.certificate()))

    def model(self, version: int = 1, scale: float = 0.0) -> SealedModel:
        """A softmax regression with all weights `scale`, and a standardiser that changes nothing."""
        weights = np.full(SPEC.layout().size, scale, np.float32)
        nothing = Standardiser(np.zeros(2, np.float32), np.ones(2, np.float32))
        return seal_model(plain_model(weights, nothing), version, self.model_key)

    def manifest(self, phase: Phase = Phase.TRAIN, model: SealedModel | None = None, **changes: Any) -> bytes:
        """The next manifest of the chain, unless `changes` break it."""
        brief = {name: changes.pop(name) for name in BRIEF.__struct_fields__ if name in changes}
        body = Manifest(
            version=self.version + 1,
            previous=self.head,
            job=self.job,
            round=self.version + 1,
            attempt=1,
            phase=phase,
            closes=None,
            suite=SUITE,
            round_key=b"" if phase is Phase.DONE else self.round_key.public,
            deadline_s=1e6,
            max_staleness=0,
            issued_at=1_900_000_000 + self.version,
            brief=seal_brief(msgspec.structs.replace(BRIEF, **brief), self.brief_key),
            model=model.ref if model else None,
        )
        body = msgspec.structs.replace(body, **changes)
        header = self._header(Type.MANIFEST, body.round, body.attempt, body.previous)
        blob = write_clear(header, msgpack.encode(body), self.signing)
        self.version, self.head = body.version, parse(blob, len(blob)).digest
        return blob

    def task(self, manifest: bytes, train: bool = True, evaluate: bool = True, counted: bytes = b"") -> bytes:
        envelope = parse(manifest, len(manifest))
        header = self._header(Type.TASK, envelope.header.round, envelope.header.attempt, envelope.digest)
        return self._seal(header, Task(train, evaluate, self.brief_key, self.model_key, counted))

    def receipt(
        self, update: bytes, verdict: Verdict = Verdict.ACCEPTED, reason: str = "", come_back_s: int = 0
    ) -> bytes:
        envelope = parse(update, len(update))
        header = self._header(Type.RECEIPT, envelope.header.round, envelope.header.attempt, envelope.header.manifest)
        return self._seal(header, Receipt(envelope.digest, verdict, reason, come_back_s))

    def missing(self, transfer: Transfer, numbers: Iterable[int]) -> bytes:
        """These frames have not come."""
        body = Missing(transfer.id, pack_missing(numbers, transfer.frames))
        return self._seal(self._header(Type.MISSING, 1, 1, self.head), body)

    def open(self, update: bytes) -> tuple[Envelope, Update]:
        """Believe and read an update as the real one does."""
        envelope = parse(update, len(update))
        envelope.verify(VerifyingKey(self.device_signing.public))
        return envelope, msgpack.decode(envelope.open(self.round_key), Update)

    def _seal(self, header: Header, body: Task | Receipt | Missing) -> bytes:
        to = Recipient(SUITE, self.device_seal.public)
        return write_sealed(header._replace(recipient=self.device), msgpack.encode(body), self.signing, to)

    def _header(self, kind: Type, round_: int, attempt: int, manifest: bytes) -> Header:
        self.messages += 1
        message_id = self.messages.to_bytes(16, "big")
        return Header(
            kind, self.federation, self.id, message_id, job=self.job, round=round_, attempt=attempt, manifest=manifest
        )


class FakeRegistrar:
    """Lets devices in, as the real one: a token is bound to the first keys that use it, and they get one answer."""

    def __init__(self, aggregator: FakeAggregator) -> None:
        self.aggregator = aggregator
        self.tokens: dict[bytes, bytes] = {}
        self.bound: dict[bytes, tuple[bytes, ...]] = {}
        self.devices: dict[bytes, Membership] = {}
        self.refuses: dict[bytes, Reason] = {}
        self.approves = True
        self.alarms = 0
        self.heard = 0
        self.not_after = 2**40

    def token(self, root: int = -1, **changes: Any) -> Token:
        """A new token, which names a root document by its place in the chain."""
        a, id_, secret = self.aggregator, os.urandom(16), os.urandom(32)
        self.tokens[id_] = secret_hash(secret)
        token = Token(a.federation, id_, secret, sha256(a.roots[root][1]).digest(), 2**40, a.broker)
        return token._replace(**changes)

    def hear(self, blob: bytes) -> bytes | None:
        """What is said to a device that joins; None where silence is the answer."""
        a = self.aggregator
        envelope = parse(blob, 2**14)
        assert envelope.header.recipient == a.root.registrar.id
        if envelope.header.recipient_key != a.registrar_seal.id:
            return None
        wish = msgpack.decode(envelope.open(a.registrar_seal), Enrol)
        envelope.verify(VerifyingKey(wish.signing))
        self.heard += 1
        body = msgspec.structs.replace(self.decide(envelope.header.sender, wish), answers=envelope.digest)
        header = Header(
            Type.MEMBERSHIP, a.federation, a.root.registrar.id, os.urandom(16), recipient=envelope.header.sender
        )
        return write_sealed(header, msgpack.encode(body), a.registrar, Recipient(SUITE, wish.seal))

    def decide(self, token: bytes, wish: Enrol) -> Membership:
        keys = wish.signing, wish.seal, public_key_in(wish.request)
        if self.tokens.get(token) != secret_hash(wish.secret):
            return self.refusal(Reason.UNKNOWN_TOKEN)
        if token in self.refuses:
            return self.refusal(self.refuses[token])
        if self.bound.setdefault(token, keys) != keys:
            self.alarms += 1
            return self.refusal(Reason.CONFLICT)
        if not self.approves:
            return Membership(bytes(32), Admission.PENDING, "", b"", b"", None)
        if token not in self.devices:
            self.devices[token] = self.admit(wish, keys[2])
        return self.devices[token]

    def admit(self, wish: Enrol, tls: bytes) -> Membership:
        a, device = self.aggregator, os.urandom(16)
        credential = Credential(a.federation, device, wish.name or "anon", wish.signing, wish.seal, 0, self.not_after)
        certificate = Authority(a.ca_key, a.ca).issue(tls, device.hex(), 0, 2**40)
        signed = sign_credential(credential, a.registrar)
        return Membership(bytes(32), Admission.ACCEPTED, "", signed, certificate, a.broker)

    @staticmethod
    def refusal(reason: Reason) -> Membership:
        return Membership(bytes(32), Admission.REFUSED, reason.value, b"", b"", None)


class Bench:
    """A session, and what it is told by hand."""

    def __init__(self, aggregator: FakeAggregator, session: Session, now_s: float = 0.0) -> None:
        self.aggregator, self.session, self.now_s = aggregator, session, now_s
        self.state: DeviceState | None = None

    def do(self, *events: Any) -> list[Action]:
        actions: list[Action] = []
        for event in events:
            actions += self.session.handle(event, self.now_s)
        for action in actions:
            if isinstance(action, PersistState):
                self.state = action.state
        return actions

    def up(self) -> list[Action]:
        return self.do(Started(), Connected(MAX))

    def manifest(self, blob: bytes) -> list[Action]:
        return self.do(Came(self.aggregator.topics.manifest, blob))

    def down(self, blob: bytes) -> list[Action]:
        return self.do(Came(self.aggregator.topics.down(self.aggregator.device), blob))

    def chunks(self, model: SealedModel) -> list[Action]:
        topics, ref = self.aggregator.topics, model.ref
        return self.do(*(Came(topics.chunk(ref.cipher_hash, n), model.chunk(n)) for n in range(len(ref.chunk_hashes))))

    def work(self, counted: bytes = b"", **changes: Any) -> Work:
        """Invite the device to a new round, with a brief of `changes`; returns what it is to do."""
        model = self.aggregator.model()
        manifest = self.aggregator.manifest(model=model, **changes)
        task = self.aggregator.task(manifest, counted=counted)
        actions = [*self.manifest(manifest), *self.down(task), *self.chunks(model)]
        (work,) = [action.work for action in actions if isinstance(action, Train)]
        return work


@pytest.fixture
def aggregator() -> FakeAggregator:
    return FakeAggregator()


@pytest.fixture
def registrar(aggregator: FakeAggregator) -> FakeRegistrar:
    return FakeRegistrar(aggregator)


@pytest.fixture
def keys(aggregator: FakeAggregator, tmp_path: Path) -> DeviceKeys:
    aggregator.write_keys(tmp_path / "keys")
    return load_device_keys(tmp_path / "keys")


@pytest.fixture
def make_session(keys: DeviceKeys) -> Callable[..., Session]:
    """A session with these keys; nothing in it is random."""

    def make(
        state: DeviceState | None = None, entries: tuple[OutboxEntry, ...] = (), sleeps: bool = False, **bounds: float
    ) -> Session:
        limits = Bounds(**({"max_model_bytes": 2**20, "max_outbox_bytes": 2**20} | bounds))
        return Session(keys, state or DeviceState(keys.id, 1), entries, limits, bytes, lambda: 0.5, sleeps)

    return make


@pytest.fixture
def make_bench(aggregator: FakeAggregator, make_session: Callable[..., Session]) -> Callable[..., Bench]:
    """A session on the bench, for the arguments of `make_session`; not started."""
    return lambda *arguments, **bounds: Bench(aggregator, make_session(*arguments, **bounds))


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A session that is connected and knows nothing yet."""
    bench = make_bench()
    bench.up()
    return bench
