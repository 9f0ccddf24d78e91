"""A small federation: one device, and an aggregator that signs whatever a test wants it to say."""

import os
from collections.abc import Callable
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
from fedloom.job import Data
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.learning.standardise import Standardiser
from fedloom.trust.certificates import Authority, new_authority, new_key, public_key_of
from fedloom.trust.device_keys import DeviceKeys, DeviceSecrets, document_files, load_device_keys, write_device_keys
from fedloom.trust.documents import AggregatorKey, Credential, Registrar, Root, sign_credential, sign_root
from fedloom.trust.seal import Recipient, SealKey, SealSuite
from fedloom.trust.signing import SigningKey, VerifyingKey
from fedloom.wire.brief import seal_brief
from fedloom.wire.envelope import Envelope, Header, Type, parse, write_clear, write_sealed
from fedloom.wire.messages import Brief, Manifest, Phase, Receipt, Task, Update, Verdict
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

    def write_keys(self, directory: Path) -> None:
        aggregator = AggregatorKey(self.id, self.signing.public)
        public = self.root_key.public
        ca_key, tls_key = new_key(), new_key()
        ca = new_authority(ca_key, "test", 1.9e9)
        registrar = Registrar(b"R" * 16, self.registrar.public, self.registrar_seal.public, ca)
        root = Root(1, self.federation, SUITE, (public,), 1, registrar, (aggregator,))
        credential = Credential(
            self.federation, self.device, "kitchen", self.device_signing.public, self.device_seal.public, 0, 2**40
        )
        secrets = DeviceSecrets(self.device_signing, self.device_seal, tls_key)
        tls = Authority(ca_key, ca).issue(public_key_of(tls_key), self.device.hex(), 0, 2**40)
        blobs = sign_root(root, self.root_key), sign_credential(credential, self.registrar)
        write_device_keys(directory, secrets, document_files(root, *blobs, tls))

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
            deadline_s=60.0,
            issued_at=1_900_000_000 + self.version,
            brief=seal_brief(msgspec.structs.replace(BRIEF, **brief), self.brief_key),
            model=model.ref if model else None,
        )
        body = msgspec.structs.replace(body, **changes)
        header = self._header(Type.MANIFEST, body.round, body.attempt, body.previous)
        blob = write_clear(header, msgpack.encode(body), self.signing)
        self.version, self.head = body.version, parse(blob, len(blob)).digest
        return blob

    def task(self, manifest: bytes, train: bool = True, evaluate: bool = True) -> bytes:
        envelope = parse(manifest, len(manifest))
        header = self._header(Type.TASK, envelope.header.round, envelope.header.attempt, envelope.digest)
        return self._seal(header, Task(train, evaluate, self.brief_key, self.model_key))

    def receipt(self, update: bytes, verdict: Verdict = Verdict.ACCEPTED, reason: str = "") -> bytes:
        envelope = parse(update, len(update))
        header = self._header(Type.RECEIPT, envelope.header.round, envelope.header.attempt, envelope.header.manifest)
        return self._seal(header, Receipt(envelope.digest, verdict, reason))

    def open(self, update: bytes) -> tuple[Envelope, Update]:
        """Believe and read an update as the real one does."""
        envelope = parse(update, len(update))
        envelope.verify(VerifyingKey(self.device_signing.public))
        return envelope, msgpack.decode(envelope.open(self.round_key), Update)

    def _seal(self, header: Header, body: Task | Receipt) -> bytes:
        to = Recipient(SUITE, self.device_seal.public)
        return write_sealed(header._replace(recipient=self.device), msgpack.encode(body), self.signing, to)

    def _header(self, kind: Type, round_: int, attempt: int, manifest: bytes) -> Header:
        self.messages += 1
        message_id = self.messages.to_bytes(16, "big")
        return Header(
            kind, self.federation, self.id, message_id, job=self.job, round=round_, attempt=attempt, manifest=manifest
        )


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

    def work(self) -> Work:
        """Invite the device to a new round; returns what it is to do."""
        model = self.aggregator.model()
        manifest = self.aggregator.manifest(model=model)
        actions = [*self.manifest(manifest), *self.down(self.aggregator.task(manifest)), *self.chunks(model)]
        (work,) = [action.work for action in actions if isinstance(action, Train)]
        return work


@pytest.fixture
def aggregator() -> FakeAggregator:
    return FakeAggregator()


@pytest.fixture
def keys(aggregator: FakeAggregator, tmp_path: Path) -> DeviceKeys:
    aggregator.write_keys(tmp_path / "keys")
    return load_device_keys(tmp_path / "keys")


@pytest.fixture
def make_session(keys: DeviceKeys) -> Callable[..., Session]:
    """A session with these keys; nothing in it is random."""

    def make(state: DeviceState | None = None, entries: tuple[OutboxEntry, ...] = (), **bounds: int) -> Session:
        limits = Bounds(**({"max_model_bytes": 2**20, "max_outbox_bytes": 2**20} | bounds))
        return Session(keys, state or DeviceState(keys.id, 1), entries, limits, bytes, lambda: 0.5)

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
