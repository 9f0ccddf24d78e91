"""The messages that a device signs: presence and updates."""

from collections.abc import Callable
from typing import Literal

from edge_client.believe import round_recipient
from edge_client.events import Answer, Publish, Work
from edge_client.sequence import Sequence
from edge_client.state import OutboxEntry
from fedloom import __version__, msgpack
from fedloom.trust.device_keys import DeviceKeys
from fedloom.wire.envelope import Envelope, Header, Type, write_clear, write_sealed
from fedloom.wire.messages import Manifest, Presence
from fedloom.wire.topics import Topics


class Writer:
    """Numbers each message, and signs it."""

    def __init__(self, keys: DeviceKeys, incarnation: int, sequence: Sequence, entropy: Callable[[int], bytes]) -> None:
        self._keys = keys
        self._incarnation = incarnation
        self._sequence = sequence
        self._entropy = entropy
        self._topic = Topics(keys.root.federation).state(keys.id)
        self._ready_sequence: int | None = None

    def will(self) -> Publish:
        """The last will of the next connection, which outranks that connection's `ready`."""
        self._ready_sequence = self._sequence.take(2)
        return self._presence("lost", self._ready_sequence + 1)

    def ready(self) -> Publish:
        """What is said first on a connection."""
        if self._ready_sequence is None:
            self._ready_sequence = self._sequence.take(2)
        return self._presence("ready", self._ready_sequence)

    def goodbye(self) -> Publish:
        """What is said last."""
        return self._presence("disconnected", self._sequence.take())

    def update(self, work: Work, answer: Answer) -> OutboxEntry:
        """An answer, sealed to its round."""
        manifest: Manifest = work.manifest
        header = self._header(Type.UPDATE, self._sequence.take())._replace(
            job=manifest.job,
            round=manifest.round,
            attempt=manifest.attempt,
            manifest=work.manifest_hash,
            encoding=answer.encoding,
        )
        blob = write_sealed(
            header,
            msgpack.encode(answer.update),
            self._keys.signing,
            round_recipient(manifest.suite, manifest.round_key),
        )
        digest = Envelope(header, blob).digest
        return OutboxEntry(digest, work.manifest_hash, manifest.job, answer.residual is not None, blob)

    def _presence(self, state: Literal["ready", "disconnected", "lost"], sequence: int) -> Publish:
        body = msgpack.encode(Presence(state, f"fedloom {__version__}", self._keys.credential.not_after))
        blob = write_clear(self._header(Type.PRESENCE, sequence), body, self._keys.signing)
        return Publish(self._topic, blob, retain=True)

    def _header(self, kind: Type, sequence: int) -> Header:
        return Header(
            kind,
            self._keys.root.federation,
            self._keys.id,
            self._entropy(16),
            incarnation=self._incarnation,
            sequence=sequence,
        )
