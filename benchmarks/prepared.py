"""Devices that exist as keys alone: they sign and seal what is asked of them, before the clock runs."""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sqlalchemy import insert

from aggregator import keys as federation_keys
from aggregator import tables as t
from aggregator.keys import SuiteName
from aggregator.store import open_store
from fedloom import msgpack
from fedloom.link.config import MqttConfig
from fedloom.trust.documents import DAY_S, Credential, sign_credential
from fedloom.trust.seal import Recipient, SealKey
from fedloom.trust.signing import SigningKey
from fedloom.wire import encoding, envelope
from fedloom.wire.envelope import Header, Type, write_clear, write_sealed
from fedloom.wire.messages import Manifest, Presence, Update
from fedloom.wire.topics import Topics

CONFIG = 'job = "job.toml"\nstate = "aggregator"\n[broker]\nhost = "{host}"\nport = {port}\n'


class Sender(NamedTuple):
    """One device."""

    id: bytes
    signing: SigningKey


class Prepared:
    """A federation in a directory of its own, and its devices."""

    def __init__(self, directory: Path, suite: SuiteName, devices: int, broker: MqttConfig, job: str) -> None:
        """`job` is the text of a job file."""
        directory.mkdir(parents=True)
        self.config = directory / "aggregator.toml"
        self.state = directory / "aggregator"
        own = federation_keys.init(self.state, suite)
        (directory / "job.toml").write_text(job, encoding="utf-8")
        self.config.write_text(CONFIG.format(host=broker.host, port=broker.port), encoding="utf-8")
        self.topics = Topics(own.root.federation)
        self.senders = [Sender(number.to_bytes(16, "big"), SigningKey.generate()) for number in range(1, devices + 1)]
        self._federation = own.root.federation
        now_s = time.time()
        rows = []
        for sender in self.senders:
            seal = SealKey.generate(own.root.suite).public
            names = sender.id, sender.id.hex(), sender.signing.public, seal
            credential = Credential(own.root.federation, *names, int(now_s), int(now_s) + DAY_S)
            signed = sign_credential(credential, own.registrar.signing)
            row = {"id": sender.id, "name": sender.id.hex(), "credential": signed, "tls_key": sender.id}
            rows.append(row | {"revoked": False, "created_at": now_s})  # nobody connects with that TLS key
        with open_store(self.state) as store, store.engine.begin() as connection:
            connection.execute(insert(t.devices), rows)

    def presence(self, sender: Sender) -> bytes:
        """It is ready."""
        header = Header(Type.PRESENCE, self._federation, sender.id, bytes(16), sequence=1)
        return write_clear(header, msgpack.encode(Presence("ready", "benchmark", 2**32)), sender.signing)

    def update(self, sender: Sender, to: "Round", body: bytes) -> bytes:
        """Its answer to a round: `body` is an encoded `Update`."""
        header = Header(
            Type.UPDATE,
            self._federation,
            sender.id,
            bytes(16),
            job=to.manifest.job,
            round=to.manifest.round,
            attempt=to.manifest.attempt,
            manifest=to.hash,
            encoding=encoding.CODES["float32"],
        )
        return write_sealed(header, body, sender.signing, to.recipient)


class Round:
    """A manifest as devices see it."""

    def __init__(self, blob: bytes) -> None:
        message = envelope.parse(blob, len(blob))
        self.manifest = msgpack.decode(message.clear(), Manifest)
        self.hash = message.digest
        self.recipient = Recipient(self.manifest.suite, self.manifest.round_key)


def update_body(weights: int) -> bytes:
    """A plausible update of so many float32 weights."""
    vector = np.random.default_rng(1).normal(scale=0.01, size=weights).astype("<f4")
    return msgpack.encode(Update(10, 1, 5.0, vector.tobytes(), b"", ""))
